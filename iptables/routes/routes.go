// Package routes makes, compares and removes what a ruleset needs beside its
// rules ([iptables.Routing]): per family the policy rule "fwmark MARK lookup
// TABLE" and in TABLE the route "local default dev lo", by which TPROXY delivers
// packets (Documentation/networking/tproxy.rst), and addresses of the loopback
// interface.
//
// It works on the network namespace of the calling thread. Rules and routes
// carry the routing protocol number [Protocol], so that they are found again
// whatever mark and table they were made for. The same things made by others are
// used, not doubled, and never removed; the one exception is what
// istio-iptables leaves behind with its default numbers, which counts as ours.
package routes

import (
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Protocol is the routing protocol number (RTPROT_ in linux/rtnetlink.h) of our
// rules and routes: 'm'. Neither the kernel's header, iproute2, FRR, OVN, Calico
// nor Cilium use it. Kernels before 4.17 do not store it with rules.
const Protocol = 'm'

// Load returns what is ours in the network namespace, whichever mark and table
// it is for: addresses, routes, then rules.
func Load(ctx context.Context) ([]Object, error) {
	s, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(s.objects, func(o Object) bool { return !s.own(o) }), nil
}

// Diff returns the changes that make the network namespace hold what is wanted
// and nothing else of ours. It changes nothing.
//
// Additions come first, so that a change of the mark or of the table delivers
// packets all the time. A caller that changes rules too makes them before it
// writes its rules, and the removals after ([Changes.Additions],
// [Changes.Removals]).
//
// The error wraps [ErrConflict] where the table already routes packets
// elsewhere, and host.ErrNoIPv6 where IPv6 is wanted and there is none.
func Diff(ctx context.Context, want iptables.Routing) (Changes, error) {
	wanted, err := objects(want)
	if err != nil {
		return nil, err
	}
	s, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return s.diff(wanted)
}

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
