package routes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/gvisor"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// State is the routing of a network namespace, as it was read.
type State struct {
	ownership iptables.Ownership
	// objects are those of the kind that we make, whoever made them: addresses, routes,
	// then rules, each in the kernel's order.
	objects []Object
	// lookups are all policy rules, in the kernel's order.
	lookups []lookup
	// foreign are the tables that rules of others look up.
	foreign map[table]bool
	// defaults are the other default routes, and singles those to single addresses of others.
	defaults, singles []rtnetlink.Route
	// linkName returns the name of an interface.
	linkName func(index uint32) (string, error)
	// loopbackUp asks whether the kernel accepts routes by the loopback interface.
	loopbackUp func() (bool, error)
	// noIPv6 is why there can be no IPv6 addresses and routes, or nil; see
	// [host.CheckIPv6].
	noIPv6 error
}

// table is a routing table. The families have separate tables with the same numbers.
type table struct {
	family iptables.Family
	number uint32
}

// Read reads the routing of a network namespace. It changes nothing.
func Read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership) (*State, error) {
	s := State{
		ownership: own, foreign: make(map[table]bool), noIPv6: host.CheckIPv6(ns),
		loopbackUp: func() (bool, error) { return isLoopbackUp(ctx, ns) },
		linkName: func(index uint32) (string, error) {
			l, err := rtnetlink.LinkByIndex(ctx, ns, index)
			return l.Name, err
		},
	}
	if err := s.readRoutes(ctx, ns); err != nil {
		return nil, fmt.Errorf("failed to list the routes: %w", err)
	}
	if err := s.readRules(ctx, ns); err != nil {
		return nil, fmt.Errorf("failed to list the routing rules: %w", err)
	}
	return &s, nil
}

func isLoopbackUp(ctx context.Context, ns *namespace.Namespace) (up bool, err error) {
	lo, err := rtnetlink.LinkByIndex(ctx, ns, rtnetlink.LoopbackIndex)
	return lo.IsUp(), err
}

// readRoutes reads the addresses that are ours, and the routes of all families at once
// (rtnl_dump_all in net/core/rtnetlink.c).
func (s *State) readRoutes(ctx context.Context, ns *namespace.Namespace) error {
	asked := make([]rtnetlink.Address, len(s.ownership.Addresses))
	for i, p := range s.ownership.Addresses {
		asked[i] = rtnetlink.Address{Link: rtnetlink.LoopbackIndex, Prefix: p}
	}
	inGVisor := gvisor.Here()
	if inGVisor {
		// It answers the question about all addresses only.
		asked = nil
	}
	routes, there, err := rtnetlink.Routes(ctx, ns, asked...)
	if inGVisor && err == nil {
		there, err = rtnetlink.Addresses(ctx, ns, unix.AF_INET6)
	}
	for _, a := range there {
		if a.Link == rtnetlink.LoopbackIndex && slices.Contains(s.ownership.Addresses, a.Prefix) {
			s.objects = append(s.objects, Object{Kind: Address, Family: iptables.FamilyOf(a.Prefix.Addr()), Prefix: a.Prefix})
		}
	}
	slices.SortStableFunc(routes, func(a, b rtnetlink.Route) int { return cmp.Compare(a.Family, b.Family) })
	for _, r := range routes {
		family, known := familyOf(r.Family)
		if !known {
			continue
		}
		if r.To.IsValid() {
			s.addSingle(family, r)
			continue
		}
		if r.Type != unix.RTN_LOCAL || r.Link != rtnetlink.LoopbackIndex || r.Gateway.IsValid() || r.TOS != 0 {
			s.defaults = append(s.defaults, r)
			continue
		}
		s.objects = append(s.objects, Object{
			Kind: Route, Family: family, Table: r.Table, Protocol: r.Protocol, Priority: r.Priority,
		})
	}
	return err
}

// addSingle adds a route to a single address.
func (s *State) addSingle(family iptables.Family, r rtnetlink.Route) {
	if r.Link == rtnetlink.LoopbackIndex && r.Table == tableMain && !r.Gateway.IsValid() && r.TOS == 0 {
		s.objects = append(s.objects, Object{
			Kind: Route, Family: family, Prefix: netip.PrefixFrom(r.To, r.To.BitLen()), Table: r.Table, Protocol: r.Protocol, Priority: r.Priority,
		})
		return
	}
	s.singles = append(s.singles, r)
}

// readRules reads those of all families at once.
func (s *State) readRules(ctx context.Context, ns *namespace.Namespace) error {
	rules, err := rtnetlink.Rules(ctx, ns)
	slices.SortStableFunc(rules, func(a, b rtnetlink.Rule) int { return cmp.Compare(a.Family, b.Family) })
	// A kernel without policy routing has no rules.
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	for _, r := range rules {
		family, known := familyOf(r.Family)
		if !known {
			continue
		}
		s.lookups = append(s.lookups, lookup{family, r})
		rule := Object{
			Kind: Rule, Family: family, Mark: r.Mark, Mask: r.Mask, Prefix: r.To, In: r.In, Table: r.Table, Protocol: r.Protocol, Priority: r.Priority,
		}
		usable := isLookup(r)
		if usable {
			s.objects = append(s.objects, rule)
		}
		if !usable || !s.owns(rule) {
			s.foreign[table{family, rule.Table}] = true
		}
	}
	return err
}

// isLookup reports whether a rule looks up a table for a mark, a destination or an interface, and
// for nothing else.
func isLookup(r rtnetlink.Rule) bool {
	asks := 0
	for _, what := range []bool{r.Mark != 0 && r.Mask != 0, r.To.IsValid(), r.In != ""} {
		if what {
			asks++
		}
	}
	return r.Action == unix.FR_ACT_TO_TBL && !r.Unknown && asks == 1 && r.Table != 0
}

// owns reports whether an object is ours.
func (s *State) owns(o Object) bool {
	switch {
	case o.Kind == Address:
		return slices.Contains(s.ownership.Addresses, o.Prefix)
	case o.Protocol == Protocol:
		return true
	case o.Prefix.IsValid() || o.In != "":
		return false
	case o.Kind == Route:
		return !s.foreign[table{o.Family, o.Table}] &&
			slices.ContainsFunc(s.ownership.Lookups, func(l iptables.Lookup) bool { return l.Table == o.Table })
	default:
		return slices.ContainsFunc(s.ownership.Lookups, func(l iptables.Lookup) bool {
			return l.Mark == o.Mark && maskOf(l.Mask) == o.Mask && l.Table == o.Table
		})
	}
}

// Own returns what is ours, whatever its mark and table: addresses, routes, then rules.
func (s *State) Own() []Object {
	var own []Object
	for _, o := range s.objects {
		if s.owns(o) {
			own = append(own, o)
		}
	}
	return own
}

// Diff returns the changes that leave the network namespace with what is wanted and
// nothing else of ours.
//
// Additions come first, so that packets are delivered all the time while mark or table
// change. A caller that changes rules too makes the additions before it writes the rules,
// and the removals after ([Changes.Additions], [Changes.Removals]).
//
// The error wraps [ErrConflict] if the table already routes packets elsewhere, and
// host.ErrNoIPv6 if IPv6 is wanted and there is none.
func (s *State) Diff(want iptables.Routing) (Changes, error) {
	for _, p := range want.Addresses {
		// When it has to go, nobody could tell it from a foreign one.
		if !slices.Contains(s.ownership.Addresses, p) {
			return nil, fmt.Errorf("address %s is not one that meshtables adds to the loopback interface", p)
		}
	}
	wanted, err := s.wanted(want)
	if err != nil {
		return nil, err
	}
	var changes Changes
	keep := make(map[int]bool)
	for _, w := range wanted {
		i := s.find(w)
		if i < 0 {
			if err := s.allows(w, want.TableOption); err != nil {
				return nil, err
			}
			changes = append(changes, Change{Add, w})
			continue
		}
		keep[i] = true
	}
	for i, o := range slices.Backward(s.objects) {
		if s.owns(o) && !keep[i] {
			changes = append(changes, Change{Delete, o})
		}
	}
	return changes, nil
}

// find returns the index of an object that already does what is wanted: one of ours if
// possible, else the first, or -1.
func (s *State) find(w Object) int {
	found := -1
	for i, o := range s.objects {
		if !o.does(w) {
			continue
		}
		if s.owns(o) {
			return i
		}
		if found < 0 {
			found = i
		}
	}
	return found
}

// allows returns nil if the object can be added. option sets its table.
func (s *State) allows(w Object, option string) error {
	if w.Family == iptables.IPv6 {
		if s.noIPv6 != nil {
			return s.noIPv6
		}
	}
	if w.Kind != Route || w.Prefix.IsValid() {
		return nil
	}
	for _, r := range s.defaults {
		if r.Table == w.Table && r.Family == netlinkFamily(w.Family) {
			hint := "\nhint: choose an unused routing table"
			if option != "" {
				hint += " with " + option
			}
			return fmt.Errorf("%w: table %d already holds another %s default route%s", ErrConflict, w.Table, w.Family, hint)
		}
	}
	up, err := s.loopbackUp()
	if err != nil {
		return fmt.Errorf("failed to find the loopback interface: %w", err)
	}
	if !up {
		return errors.New("the loopback interface is down, so nothing can be routed to it\nhint: ip link set lo up")
	}
	return nil
}

// familyOf undoes netlinkFamily. It is not known for others than ours.
func familyOf(family byte) (f iptables.Family, known bool) {
	for _, f := range iptables.Families() {
		if netlinkFamily(f) == family {
			return f, true
		}
	}
	return 0, false
}

func netlinkFamily(f iptables.Family) byte { return rtnetlink.FamilyOf(f.Unspecified()) }
