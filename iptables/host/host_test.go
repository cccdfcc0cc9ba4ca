package host

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Discover has to see the addresses of the thread's namespace, not of the
// process's.
func TestDiscoverOwnNamespace(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	nstest.Run(t, "ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
	nstest.Run(t, "ip", "addr", "add", "2001:db8::7/64", "dev", "eth0", "nodad")

	h, err := Discover(t.Context(), nstest.Here(t), File{Path: filepath.Join(t.TempDir(), "missing")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"127.0.0.1/8", "::1/128", "192.0.2.7/24", "2001:db8::7/64"} {
		if !slices.Contains(h.Addresses, netip.MustParsePrefix(want)) {
			t.Errorf("%s is missing from %v", want, h.Addresses)
		}
	}
	if len(h.Addresses) != 4 {
		t.Errorf("got %v, want four addresses", h.Addresses)
	}
	if len(h.NameServers) != 0 {
		t.Errorf("got name servers %v from a missing file", h.NameServers)
	}
	nstest.Run(t, "ip", "link", "set", "eth0", "up")
	all, err := Interfaces(t.Context(), nstest.Here(t))
	if err != nil || !slices.Equal(NamesUp(all), []string{"eth0"}) {
		t.Errorf("got interfaces %v, %v, want one that is up", all, err)
	}
}

func TestDiscoverReportsUnreadableResolvConf(t *testing.T) {
	t.Parallel()
	if h, err := Discover(t.Context(), nstest.Here(t), File{Path: t.TempDir()}); err == nil {
		t.Errorf("got %v, want an error", h)
	}
}

func TestParseResolvConf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       string
	}{
		{"empty", "", ""},
		{"order is kept", "nameserver 10.96.0.10\nnameserver 8.8.8.8\n", "10.96.0.10 8.8.8.8"},
		{"IPv6", "nameserver fd00::a", "fd00::a"},
		{"zone", "nameserver fe80::1%eth0", "fe80::1"},
		{"IPv4-mapped", "nameserver ::ffff:10.0.0.1", "10.0.0.1"},
		{"duplicates", "nameserver 10.0.0.1\nnameserver ::ffff:10.0.0.1\nnameserver 10.0.0.1", "10.0.0.1"},
		{"more than three", "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
			"10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4"},
		{"blanks", "\tnameserver\t 10.0.0.1 \r\n", "10.0.0.1"},
		{"comment after the address", "nameserver 10.0.0.1 # the cluster's", "10.0.0.1"},
		{"comments", "# nameserver 10.0.0.1\n;nameserver 10.0.0.2\n", ""},
		{"other keywords", "search a.example\noptions ndots:5\nnameservers 10.0.0.1\n", ""},
		{"invalid", "nameserver\nnameserver dns.example\nnameserver 10.0.0\nnameserver 10.0.0.9", "10.0.0.9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var words []string
			for _, a := range parseResolvConf(test.text) {
				words = append(words, a.String())
			}
			if s := strings.Join(words, " "); s != test.want {
				t.Errorf("got %q, want %q", s, test.want)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	// Not parallel: what os/user would answer depends on these.
	t.Setenv("USER", "no-such-user")
	t.Setenv("HOME", "/")
	if id, err := (Users{}).UserID("root"); err != nil || id != 0 {
		t.Errorf("root is %d, %v", id, err)
	}
	if id, err := (Users{}).GroupID("root"); err != nil || id != 0 {
		t.Errorf("group root is %d, %v", id, err)
	}
	if _, err := (Users{}).UserID("no-such-user"); !errors.Is(err, ErrUnknownName) {
		t.Errorf("got %v, want ErrUnknownName", err)
	}
	if _, err := (Users{}).GroupID(""); !errors.Is(err, ErrUnknownName) {
		t.Errorf("got %v, want ErrUnknownName", err)
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	long := "many:x:7:" + strings.Repeat("member,", 100_000) + "\nlast:x:4294967294:"
	for _, test := range []struct {
		name, text, find string
		want             uint32
		fails            bool
	}{
		{"first", "root:x:0:0:root:/root:/bin/sh\n", "root", 0, false},
		{"last line without newline", "root:x:0:0::/:\nistio-proxy:x:1337:1337::/:", "istio-proxy", 1337, false},
		{"a long line", long, "last", 4294967294, false},
		{"prefix of a name", "istio-proxy2:x:1:1::/:\n", "istio-proxy", 0, true},
		{"no id", "istio-proxy:x::1::/:\n", "istio-proxy", 0, true},
		{"id too large", "istio-proxy:x:4294967296:1::/:\n", "istio-proxy", 0, true},
		{"too few fields", "istio-proxy:x:1\n", "istio-proxy", 0, true},
		{"nameless line", ":x:1:1\n", "", 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseID(strings.NewReader(test.text), test.find)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %d, %v, want %d, error %t", got, err, test.want, test.fails)
			}
		})
	}
}

func TestCheckIPv6(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	if err := CheckIPv6(nstest.Here(t)); err != nil {
		t.Fatalf("a fresh namespace: %v", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	err := CheckIPv6(nstest.Here(t))
	if !errors.Is(err, ErrNoIPv6) || !strings.Contains(err.Error(), "\nhint: set the sysctl net.ipv6.conf.lo.disable_ipv6 to 0") {
		t.Errorf("disabled by sysctl: got %v", err)
	}
}
