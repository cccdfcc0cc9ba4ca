// Package trace asks the kernel how rules handle a packet: it sends a real one and
// returns the rules that it matched, as nf_tables reports them.
//
// An outgoing packet is the first of a real connection, with the user and the mark of the
// packet in question. The other end sees it. An incoming packet is written to a temporary
// TUN interface with the address of the interface that it stands in for. The proxy or the
// application that listens answers. Everything happens in the given network namespace,
// and needs CAP_NET_ADMIN there. Another user than one's own also needs CAP_SETUID and
// CAP_SETGID.
package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Report is what the kernel did with a packet.
type Report struct {
	// Sent is the packet as it was really sent: its ports, source address or interface
	// may differ from the wanted ones.
	Sent iptables.Packet
	Path []nftables.TraceStep
	// Refused is the error that the kernel returned to the sender, if any: a rule dropped
	// the packet, or there is no route for it.
	Refused error
}

// Run sends a packet like p, and returns the rules that it matched, in a form of
// nf_tables, without our comments. With a source port of 0 the kernel chooses the port.
//
// It can send only packets of new connections. A packet without a route, which no rule
// sees, has an empty path.
func Run(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, f installed.Form, p iptables.Packet) (r Report, err error) {
	if p.State != iptables.StateNew || p.ConnMark != 0 {
		return Report{}, errors.New("the packet begins a new connection, which has no mark")
	}
	err = ns.Do(func() (err error) {
		r, err = send(ctx, ns, own, f, p)
		return err
	})
	return r, err
}

// send runs on a thread of the namespace, so that its sockets are in it.
func send(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, f installed.Form, p iptables.Packet) (Report, error) {
	var s sender
	var err error
	if p.Hook == iptables.Output {
		s, err = newConnection(p)
	} else {
		s, err = newInjection(ctx, ns, p)
	}
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	sent := s.packet()
	r := Report{Sent: sent}
	b := nftables.New(ns, own)
	if f == installed.Native {
		b = nftables.NewNative(ns, own)
	}
	r.Path, err = b.Trace(ctx, sent.Family(), matching(sent), func() (io.Closer, error) {
		err := s.send()
		var refused *refusal
		if errors.As(err, &refused) {
			r.Refused, err = refused.error, nil
		}
		return s, err
	})
	return r, err
}

// sender has a packet ready to send.
type sender interface {
	io.Closer
	packet() iptables.Packet
	// send returns a *refusal if the kernel refuses the packet itself.
	send() error
}

// refusal is an error that is the packet's fate, not a failure of the trace.
type refusal struct{ error }

// matching returns the rule for packets with these ports and addresses.
func matching(p iptables.Packet) iptables.Rule {
	port := func(n uint16) iptables.PortMatch { return iptables.PortMatch{Range: iptables.Port(n), Set: true} }
	return iptables.Rule{
		Source:      iptables.MatchAddress(single(p.Source)),
		Destination: iptables.MatchAddress(single(p.Destination)),
		Protocol:    iptables.ProtocolMatch{Protocol: p.Protocol},
		Matches:     []iptables.Match{iptables.Ports{Protocol: p.Protocol, Source: port(p.SourcePort), Destination: port(p.DestinationPort)}},
	}
}

// single returns the prefix of one address. For the zero address it matches all.
func single(a netip.Addr) netip.Prefix {
	if a.IsUnspecified() {
		return netip.PrefixFrom(a, 0)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func protocolError(p iptables.Protocol) error {
	return fmt.Errorf("cannot send a packet of protocol %s", p)
}
