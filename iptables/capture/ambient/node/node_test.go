package node_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/tests/recorded"
)

// In iptables' form the rules are those of every recorded run, to the letter. In both forms
// the options are read back from them.
func TestParity(t *testing.T) {
	t.Parallel()
	for _, c := range recorded.AmbientHosts(t) {
		wanted, err := capture.Parse(node.Policy{}, c.Args())
		if err != nil {
			t.Fatal(err)
		}
		plan := wanted.Plan(host.Host{}).Rules
		rules, want := form.IPTables(plan), c.Ruleset(t)
		for _, f := range iptables.Families() {
			if diff := cmp.Diff(want.Save(f), rules.Save(f)); diff != "" {
				t.Errorf("%s: recorded (-), planned (+):\n%s", c.Name, diff)
			}
		}
		for name, of := range map[string]func(iptables.Plan) iptables.Ruleset{"iptables": form.IPTables, "native": form.Native} {
			found := node.Policy{}.Recognise(of(plan), of)
			if !found.Complete || !slices.Equal(found.Wanted.Arguments(), wanted.Arguments()) {
				t.Errorf("%s, %s: complete: %t, got %q, want %q", c.Name, name, found.Complete, found.Wanted.Arguments(), wanted.Arguments())
			}
		}
	}
}

// Each family has its set, and each pod is in it once.
func TestPods(t *testing.T) {
	t.Parallel()
	addresses := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	c := node.Default()
	c.IPv6 = capture.IPv6On
	got := c.Pods(host.Host{}, addresses("10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2"))
	want := []iptables.AddressSet{
		{Family: iptables.IPv4, Name: "istio-inpod-probes-v4", Addresses: addresses("10.0.0.1", "10.0.0.2")},
		{Family: iptables.IPv6, Name: "istio-inpod-probes-v6", Addresses: addresses("fd00::1")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	c.IPv6 = capture.IPv6Off
	if got := c.Pods(host.Host{}, nil); len(got) != 1 {
		t.Errorf("without IPv6: %v", got)
	}
}
