package node

import (
	"net/netip"
	"testing"
)

// If the cache gives a namespace to several pods, it is that whose addresses are there; if that
// does not tell, nobody knows, unless all ask for the same.
func TestSettle(t *testing.T) {
	t.Parallel()
	pod := func(name, address string, notes map[string]string) Pod {
		return Pod{Namespace: "shop", Name: name, Annotations: notes, addresses: []netip.Addr{netip.MustParseAddr(address)}}
	}
	mesh, none := map[string]string{"a": "b"}, map[string]string{}
	there := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.0.0.2/24")}
	for name, test := range map[string]struct {
		pods []Pod
		want string // "" if nobody knows
	}{
		"one":                            {[]Pod{pod("a", "10.0.0.9", mesh)}, "shop/a"},
		"the addresses tell":             {[]Pod{pod("a", "10.0.0.1", mesh), pod("b", "10.0.0.2", none)}, "shop/b"},
		"both have them":                 {[]Pod{pod("a", "10.0.0.2", mesh), pod("b", "10.0.0.2", none)}, ""},
		"none has them":                  {[]Pod{pod("a", "10.0.0.3", mesh), pod("b", "10.0.0.4", none)}, ""},
		"both ask for the same":          {[]Pod{pod("a", "10.0.0.2", mesh), pod("b", "10.0.0.2", mesh)}, "shop/a"},
		"two of three have the same":     {[]Pod{pod("a", "10.0.0.2", mesh), pod("b", "10.0.0.1", none), pod("c", "10.0.0.2", mesh)}, "shop/a"},
		"one of three has the addresses": {[]Pod{pod("a", "10.0.0.1", mesh), pod("b", "10.0.0.1", none), pod("c", "10.0.0.2", none)}, "shop/c"},
	} {
		p := test.pods[0]
		p.File, p.rivals = "/run/netns/x", test.pods[1:]
		owner, ok := p.settle(there)
		if ok != (test.want != "") || ok && (owner.String() != test.want || owner.File != p.File) {
			t.Errorf("%s: %s, %t, want %s", name, owner.String(), ok, test.want)
		}
	}
}
