package nftables

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

const (
	// tracePriority is before raw, NF_IP_PRI_RAW in linux/netfilter_ipv4.h.
	tracePriority = -350
	// traceTablePrefix begins the names of tables that mark packets.
	traceTablePrefix = "meshtables_trace_"
	// traceLifetime is longer than any trace takes.
	traceLifetime = time.Minute
)

// traceTable is the table that marks packets of its family for tracing.
type traceTable struct{ tables.Key }

// newTraceTable names a table after the time and a random number, so that no other trace
// has the same, even from another container in the pod. A process id would be unique only
// in its PID namespace.
func newTraceTable(f iptables.Family) traceTable {
	name := fmt.Sprintf("%s%x_%016x", traceTablePrefix, time.Now().Unix(), rand.Uint64())
	return traceTable{tables.Key{Family: f, Name: name}}
}

// mark creates the table, whatever others do to theirs. The table belongs to the socket
// and goes with it. Before Linux 5.12 no table can belong to a socket (nf_tables_newtable
// in net/netfilter/nf_tables_api.c), so remove deletes it.
func (t traceTable) mark(ctx context.Context, c *netlink.Conn, what iptables.Rule) (remove func() error, err error) {
	nothing := func() error { return nil }
	err = t.create(ctx, c, what, tables.FlagOwner)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return nothing, err
	}
	if err := removeLeftTraces(ctx, c); err != nil {
		return nothing, err
	}
	// It has to go even if the context has ended.
	return func() error { return deleteTable(context.WithoutCancel(ctx), c, t.Key) }, t.create(ctx, c, what, 0)
}

func (t traceTable) create(ctx context.Context, c *netlink.Conn, what iptables.Rule, flags uint32) error {
	b := tables.NewChanges(c, netlink.AnyGeneration)
	o := tables.Operation{What: "create", Key: t.Key}
	b.Change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.Name)
		b.PutUint32(unix.NFTA_TABLE_FLAGS, flags)
	})
	for _, chain := range []string{iptables.Prerouting, iptables.Output} {
		b.NewBaseChain(t.Key, chain, tables.Attachment{Kind: "filter", Hook: tables.HookNumber(chain), Priority: tracePriority})
		b.NewRule(t.Key, chain, &what, encodeTrace(t.Family, &what), nil)
	}
	if err := b.Err(); err != nil {
		return err
	}
	return c.Commit(ctx, b.Batch)
}

// removeLeftTraces deletes the tables of killed programs. Tables in use are younger.
func removeLeftTraces(ctx context.Context, c *netlink.Conn) error {
	var left []tables.Key
	err := list(ctx, c, unix.NFT_MSG_GETTABLE, "list the tables", func(m netlink.Message) {
		if t, ok := tables.ReadTable(m); ok && isLeftTrace(t.Name, time.Now()) {
			left = append(left, t.Key)
		}
	})
	if err != nil {
		return err
	}
	for _, t := range left {
		// Another trace may have been quicker.
		if err := deleteTable(ctx, c, t); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

func isLeftTrace(name string, now time.Time) bool {
	rest, ok := strings.CutPrefix(name, traceTablePrefix)
	made, _, _ := strings.Cut(rest, "_")
	seconds, err := strconv.ParseInt(made, 16, 64)
	return ok && err == nil && now.Sub(time.Unix(seconds, 0)) > traceLifetime
}

func deleteTable(ctx context.Context, c *netlink.Conn, t tables.Key) error {
	b := tables.NewChanges(c, netlink.AnyGeneration)
	b.DeleteTable(t)
	return c.Commit(ctx, b.Batch)
}
