package routes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
)

// state is what the network namespace holds.
type state struct {
	// objects are those that we could have made, whoever made them: addresses,
	// routes, then rules, each in the kernel's order.
	objects []Object
	// foreign are the tables that rules of others look up.
	foreign map[table]bool
	// defaults are the other default routes.
	defaults []netlink.Route
	// loopbackUp tells whether routes by the loopback interface are accepted.
	loopbackUp bool
}

// table is a routing table: each family has its own of every number.
type table struct {
	family iptables.Family
	number uint32
}

func read(ctx context.Context) (*state, error) {
	s := state{foreign: make(map[table]bool)}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("failed to find the loopback interface: %w", err)
	}
	s.loopbackUp = lo.Attrs().Flags&net.FlagUp != 0
	if err := s.readAddresses(ctx, lo); err != nil {
		return nil, fmt.Errorf("failed to list the addresses of the loopback interface: %w", err)
	}
	for _, family := range iptables.Families() {
		if err := s.readRoutes(ctx, family, lo); err != nil {
			return nil, fmt.Errorf("failed to list the %s routes: %w", family, err)
		}
	}
	for _, family := range iptables.Families() {
		if err := s.readRules(ctx, family); err != nil {
			return nil, fmt.Errorf("failed to list the %s routing rules: %w", family, err)
		}
	}
	return &s, nil
}

// dump repeats a listing that changes of others have interrupted, which happens
// where many things change at once.
func dump[T any](ctx context.Context, list func() ([]T, error)) ([]T, error) {
	const attempts = 10
	var items []T
	var err error
	for range attempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return items, err
}

func (s *state) readAddresses(ctx context.Context, lo netlink.Link) error {
	addrs, err := dump(ctx, func() ([]netlink.Addr, error) { return netlink.AddrList(lo, netlink.FAMILY_V6) })
	for _, a := range addrs {
		addr, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if p := netip.PrefixFrom(addr, bits); p == passthrough {
			s.objects = append(s.objects, Object{Kind: Address, Family: iptables.IPv6, Prefix: p})
		}
	}
	return err
}

func (s *state) readRoutes(ctx context.Context, family iptables.Family, lo netlink.Link) error {
	// Without this filter only the main table is listed; 0 is every table.
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := dump(ctx, func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlinkFamily(family), all, netlink.RT_FILTER_TABLE)
	})
	for _, r := range routes {
		if !isDefault(r.Dst) {
			continue
		}
		if r.Type != unix.RTN_LOCAL || r.LinkIndex != lo.Attrs().Index || r.Gw != nil || r.Tos != 0 {
			s.defaults = append(s.defaults, r)
			continue
		}
		s.objects = append(s.objects, Object{
			Kind: Route, Family: family, Table: uint32(r.Table), Protocol: uint8(r.Protocol), Priority: uint32(r.Priority),
		})
	}
	return err
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, bits := dst.Mask.Size()
	return ones == 0 && bits != 0
}

func (s *state) readRules(ctx context.Context, family iptables.Family) error {
	rules, err := dump(ctx, func() ([]netlink.Rule, error) { return netlink.RuleList(netlinkFamily(family)) })
	// A kernel without the family, or without policy routing, has no rules.
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	for _, r := range rules {
		rule := Object{
			Kind: Rule, Family: family, Mark: r.Mark, Table: uint32(r.Table), Protocol: r.Protocol, Priority: uint32(r.Priority),
		}
		usable := isMarkLookup(r)
		if usable {
			s.objects = append(s.objects, rule)
		}
		if !usable || !s.own(rule) {
			s.foreign[table{family, rule.Table}] = true
		}
	}
	return err
}

// isMarkLookup reports whether a rule is "fwmark MARK lookup TABLE" with nothing
// else to it.
func isMarkLookup(r netlink.Rule) bool {
	plain := netlink.NewRule()
	plain.Priority, plain.Family, plain.Protocol = r.Priority, r.Family, r.Protocol
	plain.Mark, plain.Mask, plain.Table = r.Mark, r.Mask, r.Table
	return r.Mark != 0 && r.Mask != nil && *r.Mask == iptables.FullMask && r.Table != 0 && r == *plain
}

// own reports whether an object is ours. Those of the reference carry no number
// of its own, but its default mark and its default table together do as well, as
// long as nobody else uses the table.
func (s *state) own(o Object) bool {
	switch o.Kind {
	case Address:
		return o.Prefix == passthrough
	case Route:
		return o.Protocol == Protocol || o.Table == referenceTable && !s.foreign[table{o.Family, o.Table}]
	default:
		return o.Protocol == Protocol || o.Mark == referenceMark && o.Table == referenceTable
	}
}

// diff returns the changes from the state to the wanted objects.
func (s *state) diff(wanted []Object) (Changes, error) {
	var changes Changes
	keep := make(map[int]bool)
	for _, w := range wanted {
		i := s.find(w)
		if i < 0 {
			if err := s.allows(w); err != nil {
				return nil, err
			}
			changes = append(changes, Change{Add, w})
			continue
		}
		keep[i] = true
	}
	for i, o := range slices.Backward(s.objects) {
		if s.own(o) && !keep[i] {
			changes = append(changes, Change{Delete, o})
		}
	}
	return changes, nil
}

// find returns the index of the object that already does what is wanted: one of
// ours if there is one, else the first, or -1.
func (s *state) find(w Object) int {
	found := -1
	for i, o := range s.objects {
		if o.does() != w.does() {
			continue
		}
		if s.own(o) {
			return i
		}
		if found < 0 {
			found = i
		}
	}
	return found
}

// allows returns nil where the object can be added.
func (s *state) allows(w Object) error {
	if w.Family == iptables.IPv6 {
		if err := host.CheckIPv6(); err != nil {
			return err
		}
	}
	if w.Kind != Route {
		return nil
	}
	for _, r := range s.defaults {
		if r.Table == int(w.Table) && r.Family == netlinkFamily(w.Family) {
			return fmt.Errorf("%w: table %d already holds another %s default route\n"+
				"hint: choose an unused routing table with --tproxy-table", ErrConflict, w.Table, w.Family)
		}
	}
	if !s.loopbackUp {
		return errors.New("the loopback interface is down, so nothing can be routed to it\nhint: ip link set lo up")
	}
	return nil
}

func netlinkFamily(f iptables.Family) int {
	if f == iptables.IPv6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}
