package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// TraceStep is a rule that a traced packet met, or a policy that ended its way
// through a built-in chain.
type TraceStep struct {
	// Table is a table of the backend's form by the name that the model has
	// for it, such as "nat", or any other as nft calls it, such as "inet filter".
	Table string
	Chain string
	// Position counts the rules of the chain that packets of the family meet,
	// from 1; 0 is its policy, or a rule of a table that is of neither form.
	Position int
	// Rule is as iptables-save prints it, but for our own comments, or empty.
	Rule string
	// Policy says that this is a chain's policy, not a rule.
	Policy bool
	// Dropped says that the packet ended here.
	Dropped bool
}

// Trace returns the way of one packet of a new connection, as the kernel reports
// it. The packet is the one that send sends, and that what matches by addresses,
// protocol and ports; it is of TCP or UDP. What send opened is closed at the end.
//
// A rule that matches no other packet marks it for tracing, in a table of its own. That
// is gone when Trace returns and, since Linux 5.12, also if the program is killed. What
// a killed program leaves on older kernels matches no packet any more; the next trace
// removes it.
func (b *Backend) Trace(ctx context.Context, f iptables.Family, what iptables.Rule, send func() (io.Closer, error)) (steps []TraceStep, err error) {
	err = b.dialled(ctx, func(c *netlink.Conn) (err error) {
		s, err := takeSnapshot(ctx, c, b.own)
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

// dialled calls do with a connection of its own, with which the table goes that belongs
// to it.
func (b *Backend) dialled(ctx context.Context, do func(*netlink.Conn) error) error {
	c, err := b.namespace.DialNetfilter()
	if err != nil {
		return err
	}
	return errors.Join(described(ctx, c, do(c)), c.Close())
}

// encodeTrace takes no more than every nf_tables has, whatever the backend's form.
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
func traceExpressions(p iptables.Protocol) []expr.Any {
	const register = expression.Register
	mark := []expr.Any{
		&expr.Immediate{Register: register, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: register},
	}
	if p != iptables.TCP {
		return mark
	}
	return append([]expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{0x02}},
	}, mark...)
}
