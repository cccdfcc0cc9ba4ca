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
	// traceFirst is how long to wait for the packet's first report, traceQuiet how long
	// after its last, and traceLimit how long at most. A lost SYN is sent again after a
	// second (RFC 6298, section 2.1): nobody may listen for it then.
	traceFirst = 500 * time.Millisecond
	traceQuiet = 100 * time.Millisecond
	traceLimit = 900 * time.Millisecond
	// traceBuffer is room for some thousand reports, which others may cause while
	// nothing is read.
	traceBuffer = 8 << 20
)

// tracer reads reports about a packet, with the rules in the backend's form.
type tracer struct {
	*snapshot
	table    tables.Key // that marks the packet, of its family
	inNative bool
}

// read reads reports until there are no more about the packet, whatever others trace.
func (t tracer) read(ctx context.Context, reports *netlink.KernelSocket) ([]TraceStep, error) {
	f := follower{table: t.table}
	sent, listening := time.Now(), true
	for end := sent.Add(traceFirst); ; {
		if listening && !time.Now().Before(end) {
			// Read what has arrived by now. Without new reports that ends.
			if err := reports.Leave(unix.NFNLGRP_NFTRACE); err != nil {
				return nil, fmt.Errorf("failed to stop listening to traces: %w", err)
			}
			listening = false
		}
		reports.SetTimeout(max(0, time.Until(end)))
		b, err := reports.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("failed to read a trace: %w", context.Cause(ctx))
		case errors.Is(err, unix.EAGAIN) && listening:
			continue
		case errors.Is(err, unix.EAGAIN):
			return t.steps(f.path), nil
		case errors.Is(err, unix.ENOBUFS):
			return nil, errors.New("failed to read a trace: others trace more packets than can be read, and reports are lost\n" +
				"hint: end their traces, or try again when there is less traffic")
		case err != nil:
			return nil, fmt.Errorf("failed to read a trace: %w", err)
		}
		for m, err := range netlink.Messages(b) {
			if err != nil {
				return nil, err
			}
			if m.Kind == netlink.NFTables(unix.NFT_MSG_TRACE) && f.follow(readTraceReport(m)) {
				end = earlier(time.Now().Add(traceQuiet), sent.Add(traceLimit))
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (t tracer) steps(path []traceReport) []TraceStep {
	var steps []TraceStep
	for _, r := range path {
		if step, ok := t.step(&r); ok {
			steps = append(steps, step)
		}
	}
	return steps
}

// step returns a report's rule or policy. It leaves out ends of chains, policies that
// accept, and the rules of our own table.
func (t tracer) step(r *traceReport) (step TraceStep, ok bool) {
	step = TraceStep{Chain: r.chain, Dropped: r.dropped}
	step.Policy = r.kind == unix.NFT_TRACETYPE_POLICY && r.dropped
	if r.table == t.table.Name || !r.isRule() && !step.Policy {
		return step, false
	}
	t.locate(&step, r)
	return step, true
}

// locate fills in the table of a step, the position and the rule.
func (t tracer) locate(step *TraceStep, report *traceReport) {
	family, known := tables.FamilyOf(report.family)
	if !known {
		step.Table = report.table
		return
	}
	key := tables.Key{Family: family, Name: report.table}
	step.Table = key.String()
	var rule iptables.Rule
	if found, ok := t.native.Find(key, t.table.Family, step.Chain, report.handle); ok {
		step.Position, rule = found.Position, found.Rule
		if t.inNative {
			step.Table, step.Chain = found.Table, found.Chain
		}
	} else if position, r, ok := t.compat.Find(key, step.Chain, report.handle); ok {
		step.Position, rule = position, r
		if !t.inNative {
			step.Table = report.table
		}
	} else if position, r, ok := t.others.Find(key, t.table.Family, step.Chain, report.handle, &t.reader); ok {
		step.Position, rule = position, r
	}
	if step.Position > 0 {
		step.Rule = rule.String()
	}
}
