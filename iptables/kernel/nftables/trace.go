package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
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

// tracePriority is before raw, NF_IP_PRI_RAW in linux/netfilter_ipv4.h.
const tracePriority = -350

// traceTablePrefix begins the names of the tables that mark packets.
const traceTablePrefix = "meshtables_trace_"

// newTraceTable names the table that marks packets of a family for tracing. Chance keeps
// it from being that of another trace, be it of another container in the pod: the
// number of a process is only its own in a PID namespace.
func newTraceTable(f iptables.Family) tables.Key {
	return tables.Key{Family: f, Name: fmt.Sprintf("%s%016x", traceTablePrefix, rand.Uint64())}
}

// Trace returns the way of one packet of a new connection, as the kernel reports
// it. The packet is the one that send sends, and that what matches by addresses,
// protocol and ports; it is of TCP or UDP. What send opened is closed at the end.
//
// A rule that matches no other packet marks it for tracing. It is in a table of
// its own, which is gone when Trace returns and also if the program is killed.
func (b *Backend) Trace(ctx context.Context, f iptables.Family, what iptables.Rule, send func() (io.Closer, error)) (steps []TraceStep, err error) {
	err = b.connected(func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, everything)
		if err != nil {
			return err
		}
		reports, err := dialTrace()
		if err != nil {
			return err
		}
		defer reports.Close()
		table := newTraceTable(f)
		if err := markForTracing(c, table, what); err != nil {
			return err
		}
		sent, err := send()
		if err != nil {
			return err
		}
		defer sent.Close()
		steps, err = tracer{s, table, b.native}.read(reports)
		return err
	})
	return steps, err
}

func dialTrace() (*netlink.KernelSocket, error) {
	reports, err := netlink.Dial()
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	if err := reports.Join(unix.NFNLGRP_NFTRACE); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to listen to traces: %w", err), reports.Close())
	}
	return reports, nil
}

// markForTracing makes the table, whatever others do to theirs.
func markForTracing(c *netlink.Conn, t tables.Key, what iptables.Rule) error {
	b := tables.NewChanges(c, netlink.AnyGeneration)
	addTraceRules(b, t, &what)
	if err := b.Err(); err != nil {
		return err
	}
	return c.Commit(b.Batch)
}

func addTraceRules(b *tables.Changes, t tables.Key, what *iptables.Rule) {
	o := tables.Operation{What: "create (since Linux 5.12)", Key: t}
	b.Change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.Name)
		b.PutUint32(unix.NFTA_TABLE_FLAGS, tables.FlagOwner)
	})
	for _, chain := range []string{iptables.Prerouting, iptables.Output} {
		b.NewBaseChain(t, chain, tables.Attachment{Kind: "filter", Hook: tables.HookNumber(chain), Priority: tracePriority})
		b.NewRule(t, chain, what, encodeTrace(t.Family, what), nil)
	}
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
