package iptables

import (
	"net/netip"
	"slices"
)

// Sysctl is a setting of the kernel that each network namespace has for itself.
type Sysctl struct {
	// Name is such as "net.ipv4.ip_forward", and Value its text (sysctl(8)).
	Name, Value string
	// Option is the option that sets it. Messages name it, unless it is empty.
	Option string
	// Without says what happens without it, if rules are of use all the same. Then it is only
	// advised.
	Without string
}

// String returns the words with which sysctl(8) sets it.
func (s Sysctl) String() string { return "sysctl -w " + s.Name + "=" + s.Value }

// Routing is what a ruleset needs beside its rules. Rules only mark packets; routing
// has to deliver marked packets to this machine (Documentation/networking/tproxy.rst).
type Routing struct {
	// Mark, Mask and Table make the policy rule of [Lookup]. Table has one route, "local
	// default dev lo". Families are the families that need them, none if no routing is
	// needed.
	Mark, Mask, Table uint32
	Families          []Family
	// Priority is the place of the policy rule among the others. 0 stands for any; the
	// kernel chooses it.
	Priority uint32
	// TableOption is the option that sets Table. Without is the option, with its value,
	// that needs no rule and no route. Hints name them, unless they are empty.
	TableOption, Without string
	// Addresses are added to the loopback interface. IPv4 has all of 127.0.0.0/8 there,
	// IPv6 only ::1.
	Addresses []netip.Prefix
	// Direct are addresses to which a route leads by the loopback interface. No packet takes
	// it: it is for programs that look up whether there is one.
	Direct []netip.Addr
	// Behind are addresses of others, each behind an interface of this machine by a routing
	// table of its own, as some networks give one to a pod. Packets of this machine to them are
	// to go by that interface, and what comes from them to this machine is to be delivered,
	// whatever other policy rules say. Nothing is needed for addresses without such a table.
	Behind []netip.Addr
	// SetMembers says that what the named sets hold is added to Behind.
	SetMembers bool
}

// WithMembers returns the routing with what sets hold, if it is about that.
func (r Routing) WithMembers(sets []AddressSet) Routing {
	if r.SetMembers {
		r.Behind = slices.Clone(r.Behind)
		for _, s := range sets {
			r.Behind = append(r.Behind, s.Addresses...)
		}
	}
	return r
}
