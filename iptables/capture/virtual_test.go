package capture

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/host"
)

func TestVirtualInterfaces(t *testing.T) {
	t.Parallel()
	const usual = "docker+ br-+ virbr+ k6t-+ podman+ cni+ nerdctl+ lxcbr+ lxdbr+ incusbr+ tap+"
	for _, test := range []struct {
		given string
		there []host.Interface
		want  string
	}{
		{"", []host.Interface{{Name: "docker0", Virtual: true}}, ""},
		{"tap0 docker+", []host.Interface{{Name: "lab0", Virtual: true}}, "tap0 docker+"},
		{"auto", nil, usual},
		{"auto", []host.Interface{{Name: "eth0", Uplink: true}, {Name: "net1"}, {Name: "docker0", Virtual: true}}, usual},
		{"auto", []host.Interface{{Name: "lab0", Virtual: true}, {Name: "lab1", Virtual: true}}, usual + " lab0 lab1"},
		// What leads to other machines is no virtual machine's, whatever it is.
		{"auto", []host.Interface{{Name: "lab0", Virtual: true, Uplink: true}}, usual},
		{"auto", []host.Interface{{Name: "br-ext", Virtual: true, Uplink: true}, {Name: "br-1", Virtual: true}},
			"docker+ virbr+ k6t-+ podman+ cni+ nerdctl+ lxcbr+ lxdbr+ incusbr+ tap+ br-1"},
		{"lab+ auto tap+", []host.Interface{{Name: "lab0", Virtual: true}}, "lab+ tap+ docker+ br-+ virbr+ k6t-+ podman+ cni+ nerdctl+ lxcbr+ lxdbr+ incusbr+"},
	} {
		given := strings.Fields(test.given)
		got := VirtualInterfaces(given, host.Host{Interfaces: test.there})
		if !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s with %+v: got %q, want %s", test.given, test.there, got, test.want)
		}
		if !slices.Equal(given, strings.Fields(test.given)) {
			t.Errorf("%s has become %q", test.given, given)
		}
	}
}
