package routes

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
)

// behindPriority is the place of the rules "to ADDRESS lookup TABLE". It is where AWS' plugin
// has those of pods without a routing table of their own (amazon-vpc-cni-k8s), and where Istio's
// agent adds them too, after the rule "lookup local".
const behindPriority = 512

// wanted returns the objects of a routing in this namespace, in the order in which they are
// added.
func (s *State) wanted(want iptables.Routing) ([]Object, error) {
	all, err := objects(want)
	if err != nil {
		return nil, err
	}
	for _, a := range want.Behind {
		behind, err := s.behind(a)
		if err != nil {
			return nil, err
		}
		for _, o := range behind {
			if !slices.Contains(all, o) {
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// behind returns the rules for an address that has a routing table of its own: others route what
// comes in by an interface by that table, in which a route leads to the address by the same
// interface. What this machine sends to the address goes that way, and what comes in by the
// interface for this machine is delivered, before the rule of others takes it elsewhere. There
// are none for other addresses.
func (s *State) behind(a netip.Addr) ([]Object, error) {
	family := iptables.FamilyOf(a)
	for _, r := range s.singles {
		if r.To != a || r.Table == tableMain || r.Table == tableLocal {
			continue
		}
		link, err := s.linkName(r.Link)
		if err != nil {
			return nil, fmt.Errorf("failed to find the interface that leads to %s: %w", a, err)
		}
		for _, l := range s.lookups {
			if l.family != family || !leadsTo(l.Rule, link, r.Table) {
				continue
			}
			if l.Priority < 2 {
				return nil, fmt.Errorf("%w: no routing rule can come before %q, which takes the answers of %s elsewhere", ErrConflict, l, a)
			}
			return []Object{
				{Kind: Rule, Family: family, Prefix: netip.PrefixFrom(a, a.BitLen()), Table: r.Table, Priority: behindPriority, Protocol: Protocol},
				{Kind: Rule, Family: family, In: link, Table: tableLocal, Priority: l.Priority - 1, Protocol: Protocol},
			}, nil
		}
	}
	return nil, nil
}

// leadsTo reports whether a rule looks up a table for what comes in by an interface.
func leadsTo(r rtnetlink.Rule, in string, table uint32) bool {
	return r.In == in && r.Table == table && r.Action == unix.FR_ACT_TO_TBL
}
