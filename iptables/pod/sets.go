package pod

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// SetsOf returns what [Plan.Sets] is to be for a plan.
type SetsOf func(p *Plan) func(have []iptables.AddressSet) []iptables.AddressSet

// SetDifference is how a named set differs from what it is to hold.
type SetDifference struct {
	Family string `json:"family"`
	Set    string `json:"set"`
	// Absent says that there is no such set.
	Absent bool `json:"absent,omitempty"`
	// Missing are addresses that it is to hold and does not, Unexpected those that it holds
	// and is not to.
	Missing    []netip.Addr `json:"missing,omitempty"`
	Unexpected []netip.Addr `json:"unexpected,omitempty"`
}

// Words returns the difference in a few words, such as "the set mesh-pods lacks 10.244.1.7".
func (d SetDifference) Words() string {
	if d.Absent {
		return "the set " + d.Set + " is missing"
	}
	var parts []string
	if len(d.Missing) > 0 {
		parts = append(parts, "lacks "+brief(d.Missing))
	}
	if len(d.Unexpected) > 0 {
		parts = append(parts, "has "+brief(d.Unexpected)+" too much")
	}
	return "the set " + d.Set + " " + strings.Join(parts, ", and ")
}

func brief(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return iptables.ShortList(texts, iptables.MaxListed)
}

// heldSets are the sets that the rules look up: as they are, and as they are to be.
type heldSets struct{ have, want []iptables.AddressSet }

// held reads the sets if the plan says something about them. Nothing is known of others.
func (f *Found) held(ctx context.Context, p *Plan) (h heldSets, err error) {
	if p.Sets == nil && !p.Routing.SetMembers {
		return h, nil
	}
	if h.have, err = f.SetsOf(ctx, f.Compared().Form); err != nil {
		return h, err
	}
	h.want = h.have
	if p.Sets != nil {
		h.want = p.Sets(h.have)
	}
	return h, nil
}

func (h heldSets) differences() []SetDifference {
	var all []SetDifference
	for _, want := range h.want {
		d := SetDifference{Family: want.Family.String(), Set: want.Name}
		at := slices.IndexFunc(h.have, func(s iptables.AddressSet) bool { return s.Name == want.Name })
		if at < 0 {
			d.Absent, d.Missing = true, want.Addresses
		} else {
			d.Missing, d.Unexpected = without(want.Addresses, h.have[at].Addresses), without(h.have[at].Addresses, want.Addresses)
		}
		if d.Absent || len(d.Missing)+len(d.Unexpected) > 0 {
			all = append(all, d)
		}
	}
	return all
}

// PlannedRouting returns the commands of ip(8) that add the routing of a plan to the namespace.
// It reads the namespace only if it depends on that.
func PlannedRouting(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, p *Plan) ([]string, error) {
	if !p.Routing.SetMembers {
		return routes.Commands(p.Routing)
	}
	f, err := Find(ctx, ns, own, kernel.Auto)
	if err != nil {
		return nil, err
	}
	held, err := f.held(ctx, p)
	if err != nil {
		return nil, err
	}
	there, err := f.Routing()
	if err != nil {
		return nil, err
	}
	return there.Commands(p.Routing.WithMembers(held.want))
}

// without returns the addresses of a list that are not in another.
func without(list, other []netip.Addr) []netip.Addr {
	known := make(map[netip.Addr]bool, len(other))
	for _, a := range other {
		known[a] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool { return known[a] })
}
