// Package routes makes, compares and removes what a ruleset needs beside its
// rules ([iptables.Routing]): per family the policy rule "fwmark MARK lookup
// TABLE" and in TABLE the route "local default dev lo", by which TPROXY delivers
// packets (Documentation/networking/tproxy.rst), and addresses of the loopback
// interface.
//
// [Read] tells what a network namespace holds, [State.Diff] what has to be changed.
// Rules and routes carry the routing protocol number [Protocol], so that they are found again
// whatever mark and table they were made for. The same things made by others are
// used, not doubled, and never removed, but for those that [iptables.Ownership] names.
package routes

import "github.com/meshtables/meshtables/iptables"

// Protocol is the routing protocol number (RTPROT_ in linux/rtnetlink.h) of our
// rules and routes: 'm'. Neither the kernel's header, iproute2, FRR, OVN, Calico
// nor Cilium use it. Kernels before 4.17 do not store it with rules.
const Protocol = 'm'

// Commands returns the commands of ip(8) that make a routing in a namespace that
// has none, in order.
func Commands(want iptables.Routing) ([]string, error) {
	wanted, err := objects(want)
	if err != nil {
		return nil, err
	}
	commands := make([]string, len(wanted))
	for i, o := range wanted {
		commands[i] = Change{Add, o}.String()
	}
	return commands, nil
}
