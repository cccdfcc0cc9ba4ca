package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// TraceStep is a rule that a traced packet matched, or a policy that ended its way
// through a built-in chain.
type TraceStep struct {
	// Table is the model's name of a table in the backend's form, such as "nat", or nft's
	// name of any other, such as "inet filter".
	Table string
	Chain string
	// Position counts the rules of the chain for the family, from 1. 0 is its policy, or
	// a rule of a table of neither form.
	Position int
	// Rule is the rule as iptables-save prints it, without our own comments, or empty.
	Rule string
	// Policy says that it is a chain's policy, not a rule.
	Policy bool
	// Dropped says that the packet ended here.
	Dropped bool
}

// Trace returns the way of the first packet of a new connection, as the kernel reports
// it. send sends the packet, of TCP or UDP, and what matches it by addresses, protocol
// and ports. Trace closes what send opened.
//
// A rule that matches no other packet marks it for tracing, in a table of its own. The
// table is gone when Trace returns and, since Linux 5.12, also if the program is killed.
// A table that a killed program leaves on an older kernel matches no packet any more; the
// next trace removes it.
func (b *Backend) Trace(ctx context.Context, f iptables.Family, what iptables.Rule, send func() (io.Closer, error)) (steps []TraceStep, err error) {
	err = b.dialled(ctx, func(c *netlink.Conn) (err error) {
		s, err := takeSnapshot(ctx, c, b.namespace, b.own)
		if err != nil {
			return err
		}
		reports, err := b.namespace.ListenNetfilter(unix.NFNLGRP_NFTRACE)
		if err != nil {
			return fmt.Errorf("failed to listen to traces: %w", err)
		}
		defer reports.Close()
		reports.SetBuffer(traceBuffer)
		table := newTraceTable(f)
		remove, err := table.mark(ctx, b.namespace, c, what)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		sent, err := send()
		if err != nil {
			return err
		}
		defer sent.Close()
		steps, err = tracer{s, table.Key, b.native}.read(ctx, reports)
		return err
	})
	return steps, err
}

// dialled calls do with a new connection. A table that belongs to it goes with it.
func (b *Backend) dialled(ctx context.Context, do func(*netlink.Conn) error) error {
	c, err := b.namespace.DialNetfilter()
	if err != nil {
		return err
	}
	return errors.Join(described(ctx, c, do(c)), c.Close())
}

// encodeTrace uses only what every nf_tables has, whatever the backend's form.
func encodeTrace(f iptables.Family, what *iptables.Rule) *expression.Encoder {
	var e expression.Encoder
	e.Addresses(f, what.Source, what.Destination)
	e.Protocol(what.Protocol)
	for _, m := range what.Matches {
		if ports, ok := m.(iptables.Ports); ok {
			e.Ports(ports)
		} else {
			e.Fail(errors.New("packets are traced by addresses, protocol and ports only"))
		}
	}
	e.Add(traceExpressions(what.Protocol.Protocol)...)
	return &e
}

// traceExpressions mark the packet for tracing, of TCP the first of a connection
// only: SYN without ACK, RST and FIN (RFC 9293, section 3.1: the flags are the 14th
// byte).
func traceExpressions(p iptables.Protocol) []expression.Any {
	const register = expression.Register
	mark := []expression.Any{
		&expression.Immediate{Register: register, Data: []byte{1}},
		&expression.Meta{Key: unix.NFT_META_NFTRACE, SourceRegister: true, Register: register},
	}
	if p != iptables.TCP {
		return mark
	}
	return append([]expression.Any{
		&expression.Payload{DestRegister: register, Base: unix.NFT_PAYLOAD_TRANSPORT_HEADER, Offset: 13, Len: 1},
		&expression.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		&expression.Cmp{Op: unix.NFT_CMP_EQ, Register: register, Data: []byte{0x02}},
	}, mark...)
}
