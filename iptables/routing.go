package iptables

import "net/netip"

// Routing is what a ruleset needs beside its rules. TPROXY only marks packets;
// routing has to deliver what is marked to the machine itself
// (Documentation/networking/tproxy.rst).
type Routing struct {
	// Mark and Table make the policy rule "fwmark Mark lookup Table"; Table
	// holds one route, "local default dev lo". Families tells for which
	// families; it is empty where no routing is needed.
	Mark, Table uint32
	Families    []Family
	// TableOption is the option that Table is from, and Without the one, with its
	// value, that needs no rule and no route: for hints, which have neither where they
	// are empty.
	TableOption, Without string
	// Addresses are added to the loopback interface: IPv4 has all of
	// 127.0.0.0/8 there, IPv6 only ::1.
	Addresses []netip.Prefix
}
