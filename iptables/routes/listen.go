package routes

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Listener listens to changes of the policy rules and routes of a network namespace
// (rtnetlink(7)).
type Listener struct{ socket *netlink.KernelSocket }

// Listen listens from now on. The caller closes it.
func Listen(ns *namespace.Namespace) (*Listener, error) {
	s, err := ns.ListenRouting(unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to listen to changes of the routing: %w", err)
	}
	return &Listener{s}, nil
}

// Close ends listening.
func (l *Listener) Close() error { return l.socket.Close() }

// Next waits for the next change of a policy rule, or of a route of ours: routes of others may
// come by the thousand. It returns too if reports were lost. The error is that of the context,
// or says why nobody can listen any more.
func (l *Listener) Next(ctx context.Context) error {
	for {
		b, err := l.socket.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return nil
		case err != nil:
			return fmt.Errorf("failed to listen to changes of the routing: %w", err)
		}
		for m, err := range netlink.Messages(b) {
			if err != nil {
				return err
			}
			if matters(m) {
				return nil
			}
		}
	}
}

// matters reports whether a message is about a rule, or about a route of ours.
func matters(m netlink.Message) bool {
	switch m.Kind {
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		header, _, ok := m.Split(unix.SizeofRtMsg)
		// rtmsg.rtm_protocol.
		return ok && header[5] == Protocol
	}
	return false
}
