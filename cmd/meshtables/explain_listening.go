package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
)

// look adds to an answer about installed rules what the kernel needs besides them: a socket
// that takes the connection, and the routing of TPROXY.
func (c *command) look(ctx context.Context, s *subject, e *explanation) error {
	if !c.live && !c.trace || e.Port == 0 {
		return nil
	}
	if s.listeners == nil {
		l, err := host.ReadListeners(c.namespace)
		if err != nil {
			return err
		}
		s.listeners = &l
		if s.interfaces, err = host.AddressesByName(ctx, c.namespace); err != nil {
			return err
		}
	}
	e.Listening = new(bool)
	*e.Listening = s.isListening(e)
	if e.arrival.IsValid() {
		e.mend = s.Wanted.ListenEverywhere(e.Port)
	}
	// Packets to the namespace's own addresses are delivered by table local, which comes first.
	if e.Verdict == explain.TProxied && s.routing != nil && !isOneOf(e.before.Destination, s.addresses) {
		e.Undelivered = s.routing.Undelivered(e.before.Family(), e.Mark)
	}
	return nil
}

// isListening reports whether a socket takes the connection where it arrives: what goes out
// at the loopback address, what comes in at an address of the interface, if it is known. TPROXY
// finds a socket of any address. If only other addresses of the port have sockets, it says where
// the connection arrives.
func (s *subject) isListening(e *explanation) bool {
	p := e.before
	to := p.Destination
	switch {
	case e.Verdict == explain.TProxied:
		return s.listeners.HasPort(p.Protocol, p.Family(), e.Port)
	case p.Hook == iptables.Output:
		to = p.Family().Loopback()
	default:
		if a := host.RedirectedTo(s.interfaces[p.In], p.Family()); a.IsValid() {
			to = a
		}
	}
	arrival := netip.AddrPortFrom(to, e.Port)
	if s.listeners.Has(p.Protocol, arrival) {
		return true
	}
	if len(s.listeners.At(p.Protocol, e.Port)) > 0 {
		e.arrival = arrival
	}
	return false
}

// notes returns what keeps the connection from being answered, a sentence each.
func (e explanation) notes() []string {
	var all []string
	if e.Listening != nil && !*e.Listening {
		what := "connections are refused"
		switch {
		case e.Verdict == explain.TProxied:
			what = "packets are dropped"
		case e.before.Protocol == iptables.UDP:
			what = "datagrams get no answer"
		}
		if e.arrival.IsValid() {
			all = append(all, fmt.Sprintf("nobody listens at %s, where it arrives: %s", e.arrival, what))
		} else {
			all = append(all, fmt.Sprintf("nobody listens at port %d: %s", e.Port, what))
		}
		if e.mend != "" {
			all = append(all, "to mend it: "+e.mend)
		}
	}
	if e.Undelivered != "" {
		all = append(all, e.Undelivered)
	}
	return all
}
