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

// Packets meet the tables of every form, in the kernel's order.
func TestPath(t *testing.T) {
	t.Parallel()
	n := Namespace{Backends: []Backend{
		{Form: NFT, Rules: tableWith("OTHER")}, {Form: Native, Rules: tableWith("ISTIO_X")}, {Form: Legacy, Rules: tableWith("THIRD")},
	}, Token: 7}
	for form, want := range map[Form][]string{
		NFT:    {"legacy nat, doubtful", "nat", "inet meshtables nat"},
		Native: {"ip6 nat", "legacy nat", "nat"},
		Legacy: {"ip6 nat, doubtful", "nat", "inet meshtables nat"},
	} {
		path := n.Path(form)
		var got []string
		for _, m := range path.Met(iptables.IPv6, iptables.Output) {
			title := m.Title
			if m.Doubtful {
				title += ", doubtful"
			}
			got = append(got, title)
		}
		if !slices.Equal(got, want) || len(path.Met(iptables.IPv4, iptables.Output)) > 0 {
			t.Errorf("%s: got %q, want %q", form, got, want)
		}
	}
}

// Chains of nf_tables can be anywhere.
func TestMet(t *testing.T) {
	t.Parallel()
	at := func(name string, priority int32, kind string) (iptables.Table, Base) {
		table := iptables.Table{Family: iptables.IPv6, Name: name, Chains: []iptables.Chain{{Name: "c"}}}
		return table, Base{Other, iptables.IPv6, name, "c", Attachment{Hook: iptables.Output, Priority: priority, Kind: kind}}
	}
	n := Namespace{HasBases: true, Backends: []Backend{{Form: NFT, Rules: tableWith("X")}}}
	for _, b := range []struct {
		name     string
		priority int32
		kind     string
	}{{"late", 5, "filter"}, {"nat first", -190, "nat"}, {"between", -120, "filter"}, {"nat last", 300, "nat"}, {"early", -400, "filter"}} {
		table, base := at(b.name, b.priority, b.kind)
		n.Others, n.Bases = append(n.Others, table), append(n.Bases, base)
	}
	n.Bases = append(n.Bases, Base{NFT, iptables.IPv6, iptables.Nat, iptables.Output, Attachment{Hook: iptables.Output, Priority: -100, Kind: "nat"}})
	path := n.Path(NFT)
	var got []string
	for _, m := range path.Met(iptables.IPv6, iptables.Output) {
		got = append(got, m.Title)
	}
	// What matters of a chain of nat is that it is one: nat asks them all at its own place.
	if want := []string{"early", "between", "nat first", "nat", "nat last", "late"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
