package installed

import (
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

func tableWith(chain string) iptables.Ruleset {
	table := iptables.NewTable(iptables.IPv6, iptables.Nat)
	table.Append(chain, iptables.Rule{Target: iptables.Return})
	return iptables.Ruleset{Tables: []iptables.Table{table}}
}

// A fault makes a backend ours, and different from what is wanted.
func TestBackend(t *testing.T) {
	t.Parallel()
	fault := []Fault{{Text: "something is odd"}, {Text: "the table is asleep", Disables: true}}
	want := tableWith("ISTIO_X")
	for name, test := range map[string]struct {
		Backend
		hasOwn, has bool
	}{
		"nothing": {Backend{}, false, false},
		"foreign": {Backend{Rules: tableWith("OTHER")}, false, false},
		"ours":    {Backend{Rules: want}, true, true},
		"faulty":  {Backend{Rules: want, Faults: fault}, true, false},
		"a fault": {Backend{Faults: fault}, true, false},
	} {
		test.Ownership = iptables.Ownership{Chains: []string{"ISTIO_"}}
		if test.HasOwn() != test.hasOwn || test.Has(&want) != test.has {
			t.Errorf("%s: has own: %t, has what is wanted: %t", name, test.HasOwn(), test.Has(&want))
		}
	}
	if f, ok := Disabling(fault); !ok || f != fault[1] {
		t.Errorf("got %v, %t", f, ok)
	}
}

// Tables of iptables in nf_tables come before those of the native form, and before no
// other.
func TestPath(t *testing.T) {
	t.Parallel()
	n := Namespace{Backends: []Backend{{Form: NFT, Rules: tableWith("OTHER")}, {Form: Native, Rules: tableWith("ISTIO_X")}}, Token: 7}
	for form, want := range map[Form][]string{
		NFT: {"nat"}, Native: {"ip6 nat", "nat"}, Legacy: nil,
	} {
		path := n.Path(form)
		var got []string
		for _, t := range path.Met(iptables.IPv6) {
			got = append(got, t.Title())
		}
		if !slices.Equal(got, want) || len(path.Met(iptables.IPv4)) > 0 {
			t.Errorf("%s: got %q, want %q", form, got, want)
		}
	}
	if b := n.Backend(Legacy); b.Name != "iptables-legacy" || b.Token != 7 || b.HasOwn() {
		t.Errorf("got %v", b)
	}
}
