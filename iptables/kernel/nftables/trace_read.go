package nftables

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

const (
	// traceFirst is how long to wait for the first report, traceQuiet how long after the
	// last. A lost SYN is sent again after a second (RFC 6298, section 2.1): by then the
	// rule has to be gone.
	traceFirst = 500 * time.Millisecond
	traceQuiet = 100 * time.Millisecond
)

// nfDrop and nfAccept are NF_DROP and NF_ACCEPT (linux/netfilter.h).
const (
	nfDrop   = 0
	nfAccept = 1
)

// tracer reads reports about a packet, with the rules in the backend's form.
type tracer struct {
	*snapshot
	table    tables.Key // that marks the packet, of its family
	inNative bool
}

// read reads reports until there are no more.
func (t tracer) read(ctx context.Context, reports *netlink.KernelSocket) ([]TraceStep, error) {
	var steps []TraceStep
	wait := traceFirst
	for {
		reports.SetTimeout(wait)
		b, err := reports.Receive(ctx)
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
			if step, ok := t.step(m); ok {
				steps = append(steps, step)
			}
		}
	}
}

// step reads NFT_MSG_TRACE (enum nft_trace_attributes). It leaves out ends of chains and
// policies that accept.
func (t tracer) step(m netlink.Message) (step TraceStep, ok bool) {
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
					step.Dropped = netlink.ReadUint32(value) == nfDrop
				}
			}
		}
	}
	// The kernel reports the end of a chain as a rule without a handle (nft_do_chain in
	// net/netfilter/nf_tables_core.c). Older kernels report a rule that returns as such
	// an end, with its handle.
	rule := (kind == unix.NFT_TRACETYPE_RULE || kind == unix.NFT_TRACETYPE_RETURN) && handle != 0
	step.Policy = kind == unix.NFT_TRACETYPE_POLICY && step.Dropped
	if m.Kind != netlink.NFTables(unix.NFT_MSG_TRACE) || table == t.table.Name || !rule && !step.Policy {
		return step, false
	}
	t.locate(&step, m, table, handle)
	return step, true
}

// locate fills in the table of a step, the position and the rule.
func (t tracer) locate(step *TraceStep, m netlink.Message, table string, handle uint64) {
	family, known := tables.FamilyOf(m.Family())
	if !known {
		step.Table = table
		return
	}
	key := tables.Key{Family: family, Name: table}
	step.Table = key.String()
	var rule iptables.Rule
	if found, ok := t.native.Find(key, t.table.Family, step.Chain, handle); ok {
		step.Position, rule = found.Position, found.Rule
		if t.inNative {
			step.Table, step.Chain = found.Table, found.Chain
		}
	} else if position, r, ok := t.compat.Find(key, step.Chain, handle); ok {
		step.Position, rule = position, r
		if !t.inNative {
			step.Table = table
		}
	}
	if step.Position > 0 {
		step.Rule = rule.String()
	}
}
