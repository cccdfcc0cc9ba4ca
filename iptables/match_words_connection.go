package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// meetsConntrack is the match "conntrack", also by its older name "state". A packet
// without a connection meets it if it has a state that is asked for, whatever else is
// (conntrack_mt in net/netfilter/xt_conntrack.c).
func (p *Packet) meetsConntrack(options []wordOption) answer {
	state, a, asksState := p.connectionState(), yes, false
	for _, o := range options {
		if o.name == "--ctstate" || o.name == "--state" {
			a, asksState = a.and(p.meetsState(state, o)), true
		}
	}
	if state == StateInvalid || state == StateUntracked {
		return a.and(answerOf(asksState))
	}
	for _, o := range options {
		if o.name != "--ctstate" && o.name != "--state" {
			a = a.and(p.meetsConnection(o))
		}
	}
	return a
}

// meetsState is about states, and about another destination. Nobody knows here whether a
// connection has another source.
func (p *Packet) meetsState(state CTState, o wordOption) answer {
	names := strings.Split(o.value(), ",")
	switch {
	case slices.Contains(names, state.String()), slices.Contains(names, "DNAT") && p.Translated:
		return yes.not(o.not)
	case slices.Contains(names, "SNAT"):
		return unsure
	}
	return no.not(o.not)
}

// meetsConnection is about the packet's connection: that of a new one is known from its
// first packet, until nat changes it, and the answers' side from an answer.
func (p *Packet) meetsConnection(o wordOption) answer {
	first, reply := p.State == StateNew, p.State == StateEstablished
	switch o.name {
	case "--ctproto":
		return p.meetsProtocol(o)
	case "--ctdir":
		if !first && !reply {
			return unsure
		}
		return answerOf(first == (o.value() == "ORIGINAL")).not(o.not)
	case "--ctstatus":
		return p.meetsStatus(o)
	}
	known := first && strings.HasPrefix(o.name, "--ctorig") || reply && strings.HasPrefix(o.name, "--ctrepl")
	switch side := strings.TrimPrefix(strings.TrimPrefix(o.name, "--ctorig"), "--ctrepl"); {
	case !known || p.Translated:
		return unsure
	case side == "src":
		return meetsNetwork(p.Source, o)
	case side == "dst":
		return meetsNetwork(p.Destination, o)
	case side == "srcport":
		return meetsPorts(p.SourcePort, o)
	case side == "dstport":
		return meetsPorts(p.DestinationPort, o)
	}
	return unsure
}

func (p *Packet) meetsProtocol(o wordOption) answer {
	is, ok1 := p.Protocol.Number()
	want, ok2 := Protocol(o.value()).Number()
	if !ok1 || !ok2 {
		return unsure
	}
	return answerOf(is == want).not(o.not)
}

// meetsStatus is about the bits of a connection's status: none for the first packet. An
// answer is part of a connection that is confirmed and has seen an answer.
func (p *Packet) meetsStatus(o wordOption) answer {
	names := strings.Split(o.value(), ",")
	switch {
	case p.Translated && slices.Contains(names, "DNAT"):
		return yes.not(o.not)
	case p.State == StateNew:
		return no.not(o.not)
	case p.State == StateEstablished && (slices.Contains(names, "CONFIRMED") || slices.Contains(names, "SEEN_REPLY")):
		return yes.not(o.not)
	}
	return unsure
}

func meetsNetwork(a netip.Addr, o wordOption) answer {
	text := o.value()
	if !strings.Contains(text, "/") {
		want, err := netip.ParseAddr(text)
		if err != nil {
			return unsure
		}
		return answerOf(a == want).not(o.not)
	}
	want, err := netip.ParsePrefix(text)
	if err != nil {
		return unsure
	}
	return answerOf(want.Contains(a)).not(o.not)
}

func meetsPorts(port uint16, o wordOption) answer {
	r, err := ParsePortRange(o.value())
	if err != nil {
		return unsure
	}
	return answerOf(r.Contains(port)).not(o.not)
}
