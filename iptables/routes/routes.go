// Package routes adds, compares and removes what a ruleset needs beside its rules
// ([iptables.Routing]): per family the policy rule "fwmark MARK/MASK lookup TABLE" and
// in TABLE the route "local default dev lo", which deliver marked packets such as those of
// TPROXY (Documentation/networking/tproxy.rst), addresses of the loopback interface, and what
// keeps packets to and from pods off the routing that others have made for them.
//
// [Read] returns what a network namespace has, [State.Diff] what has to change. Our rules
// and routes have the routing protocol number [Protocol], so that they are found again
// whatever their mark and table. Equal ones made by others are used, not doubled, and
// never removed, except for those that [iptables.Ownership] names.
package routes

import "github.com/meshtables/meshtables/iptables"

// Protocol is the routing protocol number (RTPROT_ in linux/rtnetlink.h) of our rules and
// routes: 'm'. The kernel's header, iproute2, FRR, OVN, Calico and Cilium do not use it.
// Kernels before 4.17 do not store it with rules.
const Protocol = 'm'

// Commands returns the commands of ip(8), in order, that add a routing to a namespace
// without one. It leaves out what depends on the namespace; see [State.Commands].
func Commands(want iptables.Routing) ([]string, error) {
	wanted, err := objects(want)
	return commands(wanted), err
}

// Commands is [Commands] for this namespace, as if it had nothing of it.
func (s *State) Commands(want iptables.Routing) ([]string, error) {
	wanted, err := s.wanted(want)
	return commands(wanted), err
}

func commands(wanted []Object) []string {
	commands := make([]string, len(wanted))
	for i, o := range wanted {
		commands[i] = Change{Add, o}.String()
	}
	return commands
}
