package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// TraceStep is a rule that a traced packet met, or a policy that ended its way
// through a built-in chain.
type TraceStep struct {
	// Table is the table as iptables calls it, or one that iptables does not
	// know as nft does, such as "inet filter".
	Table string
	Chain string
	// Position counts the chain's rules from 1; 0 is its policy, or a rule of
	// a table that iptables does not know.
	Position int
	// Rule is as iptables-save prints it, or empty.
	Rule string
	// Policy says that this is a chain's policy, not a rule.
	Policy bool
	// Dropped says that the packet ended here.
	Dropped bool
}

const (
	// tableOwner is NFT_TABLE_F_OWNER (linux/netfilter/nf_tables.h), of Linux
	// 5.12: the table goes with the socket that made it, however the program
	// ends.
	tableOwner = 1 << 1
	// tracePriority is before raw, NF_IP_PRI_RAW in linux/netfilter_ipv4.h.
	tracePriority = -350

	// traceFirst is how long the first report is waited for, traceQuiet how
	// long after the last. A lost SYN is sent again after a second (RFC 6298,
	// section 2.1): that one has to find no rule any more.
	traceFirst = 500 * time.Millisecond
	traceQuiet = 100 * time.Millisecond
)

// traceTable is the name of the table that marks packets for tracing, different
// for each program that does.
func traceTable() string { return fmt.Sprintf("meshtables_trace_%d", os.Getpid()) }

// Trace returns the way of one packet of a new connection, as the kernel reports
// it. The packet is the one that send sends, and that what matches; it is of TCP or
// UDP. What send opened is closed at the end.
//
// A rule that matches no other packet marks it for tracing. It is in a table of
// its own, which is gone when Trace returns and also if the program is killed.
func (b *Backend) Trace(ctx context.Context, f iptables.Family, what iptables.Rule, send func() (io.Closer, error)) (steps []TraceStep, err error) {
	err = b.connected(func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c)
		if err != nil {
			return err
		}
		reports, err := dialTrace()
		if err != nil {
			return err
		}
		defer reports.Close()
		if err := markForTracing(ctx, c, f, what); err != nil {
			return err
		}
		sent, err := send()
		if err != nil {
			return err
		}
		defer sent.Close()
		steps, err = s.readTrace(reports)
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

// markForTracing makes the table, unless somebody keeps changing the rules.
func markForTracing(ctx context.Context, c *netlink.Conn, f iptables.Family, what iptables.Rule) error {
	for attempt := 1; ; attempt++ {
		generation, err := c.Generation()
		if err != nil {
			return err
		}
		b := newBatch(c, generation)
		b.traceRules(f, &what)
		if b.err != nil {
			return b.err
		}
		if err = c.Commit(b.Batch); err == nil || !isTransient(err) || attempt == maxAttempts || !pause(ctx, attempt) {
			return err
		}
	}
}

func (b *batch) traceRules(f iptables.Family, what *iptables.Rule) {
	t := tableKey{f, traceTable()}
	o := operation{what: "create (since Linux 5.12)", family: f, table: t.name}
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.name)
		b.PutUint32(unix.NFTA_TABLE_FLAGS, tableOwner)
	})
	for _, chain := range []string{iptables.Prerouting, iptables.Output} {
		b.newBaseChain(t, chain, attachment{kind: "filter", hook: hookNumbers[chain], priority: tracePriority})
		b.appendRule(t, chain, what, traceExpressions(what.Protocol.Protocol)...)
	}
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

// readTrace reads reports until there are no more.
func (s *snapshot) readTrace(reports *netlink.KernelSocket) ([]TraceStep, error) {
	var steps []TraceStep
	wait := traceFirst
	for {
		if err := reports.SetTimeout(wait); err != nil {
			return nil, err
		}
		b, err := reports.Receive()
		if errors.Is(err, unix.EAGAIN) {
			return steps, nil
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read a trace: %w", err)
		}
		wait = traceQuiet
		for m, err := range netlink.Messages(b) {
			if err != nil {
				return nil, err
			}
			if step, ok := s.traceStep(m); ok {
				steps = append(steps, step)
			}
		}
	}
}

// traceStep reads NFT_MSG_TRACE (enum nft_trace_attributes). Ends of chains and
// policies that let the packet go are left out.
func (s *snapshot) traceStep(m netlink.Message) (step TraceStep, ok bool) {
	var table string
	var kind uint32
	var handle uint64
	for attribute, value := range m.Attributes() {
		switch attribute {
		case unix.NFTA_TRACE_TABLE:
			table = netlink.ReadString(value)
		case unix.NFTA_TRACE_CHAIN:
			step.Chain = netlink.ReadString(value)
		case unix.NFTA_TRACE_RULE_HANDLE:
			handle = netlink.ReadUint64(value)
		case unix.NFTA_TRACE_TYPE:
			kind = netlink.ReadUint32(value)
		case unix.NFTA_TRACE_POLICY:
			step.Dropped = netlink.ReadUint32(value) != nfAccept
		case unix.NFTA_TRACE_VERDICT:
			for attribute, value := range netlink.Attributes(value) {
				if attribute == unix.NFTA_VERDICT_CODE {
					step.Dropped = netlink.ReadUint32(value) == 0 // NF_DROP
				}
			}
		}
	}
	// The end of a chain is reported as a rule without a handle
	// (nft_do_chain in net/netfilter/nf_tables_core.c).
	rule := kind == unix.NFT_TRACETYPE_RULE && handle != 0
	step.Policy = kind == unix.NFT_TRACETYPE_POLICY && step.Dropped
	if m.Kind != netlink.NFTables(unix.NFT_MSG_TRACE) || table == traceTable() || !rule && !step.Policy {
		return step, false
	}
	step.Table = nftTableName(m.Family(), table)
	if t := s.tableOf(m, append([]byte(table), 0)); t != nil {
		step.Table = table
		step.Position, step.Rule = t.find(step.Chain, handle)
	}
	return step, true
}

// find returns the place of a rule and the rule.
func (t *installedTable) find(chain string, handle uint64) (position int, rule string) {
	if c := t.chain(chain); c != nil {
		for i, r := range c.rules {
			if r.handle == handle {
				return i + 1, r.rule.String()
			}
		}
	}
	return 0, ""
}

// nftTableName is a table of any family as nft names it.
func nftTableName(family byte, table string) string {
	name := map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[family]
	return name + " " + table
}
