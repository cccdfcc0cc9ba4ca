// Package interceptor reads which BPF programs of others handle the traffic of a network
// namespace beside netfilter: at the sockets of its processes, by their cgroups; at its
// interfaces; and where the kernel looks for the socket of a connection that comes in.
//
// It is what may happen, not what does: only its author knows what a program does to which
// connections. It changes nothing, and what cannot be read it says.
package interceptor

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Effect is what a program can do to traffic, by where it is attached.
type Effect string

// The effects.
const (
	Rewrites  Effect = "rewrite"  // give a connection, or a datagram, another destination
	Redirects Effect = "redirect" // send packets by another interface, change them or drop them
	Steers    Effect = "steer"    // give a connection to another socket
	Drops     Effect = "drop"     // drop packets
	Renames   Effect = "rename"   // tell an application another peer than it has
)

// Direction is into the network namespace or out of it.
type Direction string

// The directions.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Program is a BPF program at one of the places where it is attached.
type Program struct {
	// ID is its number on this machine. Name is the kernel's, which has at most 15 characters,
	// or that of tc(8); it is empty if it has none, or if nobody may know.
	ID   uint32 `json:"id"`
	Name string `json:"name,omitempty"`
	// Type is the type of the program, and Hook where it is attached, both as bpftool(8) calls
	// them, such as "cgroup_sock_addr" and "connect4".
	Type string `json:"type"`
	Hook string `json:"hook"`
	// Cgroup is the path of a cgroup, if the program is attached to one. Above says that it is
	// attached to a cgroup above that one, which cannot be seen from here.
	Cgroup string `json:"cgroup,omitempty"`
	Above  bool   `json:"above,omitempty"`
	// Interface is the name of an interface, if the program is attached to one. Without both, it
	// is attached to the network namespace.
	Interface string `json:"interface,omitempty"`
	// Flags are how it is attached: "override" and "multi" say what cgroups below may do, and
	// "direct-action" that the program itself says what happens to packets.
	Flags     []string  `json:"flags,omitempty"`
	Direction Direction `json:"direction"`
	Effect    Effect    `json:"effect"`
	// BeforeRules says that it comes before the rules of netfilter.
	BeforeRules bool `json:"beforeRules"`
	// Software is whose it is, as far as its name tells.
	Software string `json:"software,omitempty"`
	// Text says what it may do in a sentence, and Hint what to do about it.
	Text string `json:"text"`
	Hint string `json:"hint"`
}

// Found are the programs that traffic meets.
type Found struct {
	// Programs are in the order in which traffic meets them: first what goes out, then what comes
	// in. One that is attached to several places is there for each.
	Programs []Program `json:"programs"`
	// Unread says what could not be read, a sentence each.
	Unread []string `json:"unread,omitempty"`
}

// IsEmpty reports whether there is nothing to tell.
func (f *Found) IsEmpty() bool { return len(f.Programs)+len(f.Unread) == 0 }

// Connection says by which interfaces the first packet of a connection goes out of the network
// namespace, and comes in; "" if it does not.
type Connection struct {
	Family   iptables.Family
	Protocol iptables.Protocol
	Out, In  string
}

// On returns the programs that a connection meets and that can change where it goes, in order.
func (f *Found) On(c Connection) []Program {
	var all []Program
	for _, p := range f.Programs {
		if p.Effect != Renames && p.isOn(c) {
			all = append(all, p)
		}
	}
	return all
}

func (p *Program) isOn(c Connection) bool {
	by := c.In
	if p.Direction == Out {
		by = c.Out
	}
	h := hookNamed(p.Hook)
	return by != "" && (p.Interface == "" || p.Interface == by) &&
		(h.protocol == "" || h.protocol == c.Protocol) && (!h.onlyIPv4 || c.Family == iptables.IPv4)
}

// Diverting returns the programs that can change where traffic goes.
func (f *Found) Diverting() []Program {
	return slices.DeleteFunc(slices.Clone(f.Programs), func(p Program) bool { return p.Effect == Renames })
}
