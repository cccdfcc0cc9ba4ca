// Package trace asks the kernel what becomes of a packet: it sends a real one and
// returns the rules that it met as nf_tables reports them.
//
// What goes out is the first packet of a connection that is made, as the user and
// with the mark of the packet in question; whoever is at the other end sees it.
// What comes in is put into a TUN interface, which exists as long as that takes and
// has the address of the one that it stands in for; the proxy or the application that
// listens answers.
// Everything happens in the network namespace that is given, and takes CAP_NET_ADMIN
// there; another user than one's own also CAP_SETUID and CAP_SETGID.
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
	// Sent is the packet as it was really sent: its ports, its source address
	// or its interface may differ from those asked for.
	Sent iptables.Packet
	Path []nftables.TraceStep
	// Refused is what the kernel told the sender, if that was an error: a rule
	// dropped the packet, or there is no route for it.
	Refused error
}

// Run sends a packet that is like p, and returns the rules that it met, as a form of
// nf_tables has them, ours without our comments. A source port of 0 leaves it to the kernel.
//
// Only packets of new connections can be sent. A packet that no rule sees, because
// there is no route for it, has an empty path.
func Run(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, f installed.Form, p iptables.Packet) (r Report, err error) {
	if p.State != iptables.StateNew || p.ConnMark != 0 {
		return Report{}, errors.New("a packet that is sent begins a new connection, which has no mark")
	}
	err = ns.Do(func() (err error) {
		r, err = send(ctx, ns, own, f, p)
		return err
	})
	return r, err
}

// send runs on a thread of the namespace, which is that of the sockets that it opens.
func send(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, f installed.Form, p iptables.Packet) (Report, error) {
	var s sender
	var err error
	if p.Hook == iptables.Output {
		s, err = newConnection(p)
	} else {
		s, err = newInjection(p)
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
	// send returns a *refusal where it is the packet that the kernel refuses.
	send() error
}

// refusal is an error that tells of the packet's fate, and is no failure to ask for it.
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

// single returns the prefix of one address; that of none matches all.
func single(a netip.Addr) netip.Prefix {
	if a.IsUnspecified() {
		return netip.PrefixFrom(a, 0)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func protocolError(p iptables.Protocol) error {
	return fmt.Errorf("cannot send a packet of protocol %s", p)
}
