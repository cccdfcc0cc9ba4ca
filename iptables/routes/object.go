package routes

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// Kind is what an [Object] is.
type Kind uint8

// The kinds, in the order in which they are added: a rule comes after what it needs.
const (
	Address Kind = iota // Prefix on the loopback interface
	Route               // "local default dev lo" in Table, or "Prefix dev lo" in that of all packets
	Rule                // "fwmark Mark/Mask lookup Table", "to Prefix lookup Table" or "iif In lookup Table"
)

// Object is an address, a route or a rule.
type Object struct {
	Kind   Kind
	Family iptables.Family
	Prefix netip.Prefix // of an Address, of a Route that is no default route, and of a Rule about destinations
	In     string       // of a Rule about what comes in by an interface
	Mark   uint32       // of a Rule
	Mask   uint32       // of a Rule: the bits of the mark that are compared
	Table  uint32       // of a Route and of a Rule

	// Protocol says who made a Route or Rule (RTPROT_ in linux/rtnetlink.h). It is 0 if
	// that is unknown.
	Protocol uint8
	// Priority is the place of a Rule among the others. With 0 the kernel chooses it:
	// before all but the first, "lookup local". For a Route it is the metric, chosen by
	// the kernel if it is 0.
	Priority uint32
	// Without is the option that needs no Rule; see [iptables.Routing].
	Without string
}

// command returns the arguments of ip(8) that add or delete the object.
func (o Object) command(action string) string {
	ip := "ip"
	if o.Family == iptables.IPv6 {
		ip = "ip -6"
	}
	var s string
	switch o.Kind {
	case Address:
		return fmt.Sprintf("%s addr %s %s dev lo", ip, action, o.Prefix)
	case Route:
		s = fmt.Sprintf("%s route %s %s", ip, action, o)
	default:
		s = fmt.Sprintf("%s rule %s", ip, action)
		if o.Priority != 0 {
			s += fmt.Sprintf(" priority %d", o.Priority)
		}
		s += " " + o.lookup()
	}
	if o.Protocol != 0 {
		s += fmt.Sprintf(" protocol %d", o.Protocol)
	}
	return s
}

// String returns the object in the words of ip(8), such as
// "fwmark 0x539 lookup 133".
func (o Object) String() string {
	switch o.Kind {
	case Address:
		return fmt.Sprintf("%s dev lo", o.Prefix)
	case Route:
		if o.Prefix.IsValid() {
			return fmt.Sprintf("%s dev lo scope link", o.Prefix)
		}
		return fmt.Sprintf("local default dev lo table %d", o.Table)
	default:
		return o.lookup()
	}
}

// lookup returns what a Rule does, as ip(8) prints it.
func (o Object) lookup() string {
	switch {
	case o.Prefix.IsValid():
		return fmt.Sprintf("to %s lookup %d", o.Prefix, o.Table)
	case o.In != "" && o.Table == tableLocal:
		return fmt.Sprintf("iif %s lookup local", o.In)
	case o.In != "":
		return fmt.Sprintf("iif %s lookup %d", o.In, o.Table)
	case o.Mask == iptables.FullMask:
		return fmt.Sprintf("fwmark %#x lookup %d", o.Mark, o.Table)
	}
	return fmt.Sprintf("fwmark %#x/%#x lookup %d", o.Mark, o.Mask, o.Table)
}

// does reports whether the object does what is wanted, at the wanted place if that matters.
func (o Object) does(w Object) bool {
	atPlace := w.Priority == 0 || o.Priority == w.Priority
	o.Protocol, o.Priority, o.Without = 0, 0, ""
	w.Protocol, w.Priority, w.Without = 0, 0, ""
	return o == w && atPlace
}

// Numbers of the kernel's own routing tables (RT_TABLE_ in linux/rtnetlink.h).
const (
	tableDefault = 253
	tableMain    = 254
	tableLocal   = 255
)

// objects returns the objects of a routing, in the order in which they are added.
func objects(want iptables.Routing) ([]Object, error) {
	var wanted []Object
	for _, p := range want.Addresses {
		wanted = append(wanted, Object{Kind: Address, Family: iptables.FamilyOf(p.Addr()), Prefix: p})
	}
	for _, a := range want.Direct {
		wanted = append(wanted, Object{
			Kind: Route, Family: iptables.FamilyOf(a), Prefix: netip.PrefixFrom(a, a.BitLen()), Table: tableMain, Protocol: Protocol,
		})
	}
	if len(want.Families) == 0 {
		return wanted, nil
	}
	if want.Mark == 0 {
		return nil, fmt.Errorf("mark 0 cannot select packets: every unmarked packet has it")
	}
	mask := maskOf(want.Mask)
	if want.Mark&^mask != 0 {
		return nil, fmt.Errorf("no packet has the mark %#x in the bits %#x", want.Mark, mask)
	}
	if want.Table == 0 || want.Table >= tableDefault && want.Table <= tableLocal {
		return nil, fmt.Errorf("routing table %d is one of the kernel's own", want.Table)
	}
	for _, f := range want.Families {
		wanted = append(wanted, Object{Kind: Route, Family: f, Table: want.Table, Protocol: Protocol})
	}
	for _, f := range want.Families {
		wanted = append(wanted, Object{
			Kind: Rule, Family: f, Mark: want.Mark, Mask: mask, Table: want.Table,
			Protocol: Protocol, Priority: want.Priority, Without: want.Without,
		})
	}
	return wanted, nil
}

// maskOf returns the bits that a mask selects; see [iptables.Lookup].
func maskOf(mask uint32) uint32 { return cmp.Or(mask, iptables.FullMask) }
