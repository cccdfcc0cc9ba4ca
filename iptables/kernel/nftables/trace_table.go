package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"golang.org/x/sys/unix"
)

const (
	// traceFirstPriority is before chains that may drop the packet, and
	// traceLastPriority after those that may change it (NF_IP_PRI_FIRST and
	// NF_IP_PRI_LAST in linux/netfilter_ipv4.h).
	traceFirstPriority = math.MinInt32
	traceLastPriority  = math.MaxInt32
	// traceTablePrefix begins the names of tables that mark packets.
	traceTablePrefix = "meshtables_trace_"
)

// traceTable is the table that marks packets of its family for tracing.
type traceTable struct{ tables.Key }

// newTraceTable names a table after a random number, so that no other trace has the same,
// even from another container in the pod. A process id would be unique only in its PID
// namespace.
func newTraceTable(f iptables.Family) traceTable {
	return traceTable{tables.Key{Family: f, Name: fmt.Sprintf("%s%016x", traceTablePrefix, rand.Uint64())}}
}

// mark creates the table, whatever others do to theirs. The table belongs to the socket
// and goes with it. Before Linux 5.12 no table can belong to a socket (nf_tables_newtable
// in net/netfilter/nf_tables_api.c), so remove deletes it.
func (t traceTable) mark(ctx context.Context, ns *namespace.Namespace, c *netlink.Conn, what iptables.Rule) (remove func() error, err error) {
	nothing := func() error { return nil }
	err = t.create(ctx, c, what, tables.FlagOwner)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return nothing, err
	}
	if err := removeLeftTraces(ctx, ns, c); err != nil {
		return nothing, err
	}
	held, err := hold(ns, t.Name)
	if err != nil {
		return nothing, fmt.Errorf("failed to hold table %s: %w", t.Key, err)
	}
	if err := t.create(ctx, c, what, 0); err != nil {
		return nothing, errors.Join(err, held.Close())
	}
	return func() error {
		// It has to go even if the context has ended.
		return errors.Join(deleteTable(context.WithoutCancel(ctx), c, t.Key), held.Close())
	}, nil
}

// hold shows other traces that the table is in use, by an abstract socket of the same name
// (unix(7)): such names belong to the network namespace, and go with the process. The error
// is EADDRINUSE if another process has the name.
func hold(ns *namespace.Namespace, table string) (held io.Closer, err error) {
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		file := os.NewFile(uintptr(fd), table)
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + table}); err != nil {
			return errors.Join(os.NewSyscallError("bind", err), file.Close())
		}
		held = file
		return nil
	})
	return held, err
}

func (t traceTable) create(ctx context.Context, c *netlink.Conn, what iptables.Rule, flags uint32) error {
	b := tables.NewChanges(c, netlink.AnyGeneration)
	o := tables.Operation{What: "create", Key: t.Key}
	b.Change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.Name)
		b.PutUint32(unix.NFTA_TABLE_FLAGS, flags)
	})
	for _, chain := range []string{iptables.Prerouting, iptables.Output} {
		b.NewBaseChain(t.Key, chain, traceAttachment(chain, traceFirstPriority))
		b.NewRule(t.Key, chain, &what, encodeTrace(t.Family, &what), nil)
	}
	// This chain makes the kernel report the packet's headers as it leaves. By these we
	// know it when it comes in again via lo.
	const leaving = "POSTROUTING"
	b.NewBaseChain(t.Key, leaving, traceAttachment(leaving, traceLastPriority))
	if err := b.Err(); err != nil {
		return err
	}
	return c.Commit(ctx, b.Batch)
}

func traceAttachment(chain string, priority int32) tables.Attachment {
	return tables.Attachment{Kind: "filter", Hook: tables.HookNumber(chain), Priority: priority}
}

// removeLeftTraces deletes the tables of killed programs, which nobody holds.
func removeLeftTraces(ctx context.Context, ns *namespace.Namespace, c *netlink.Conn) error {
	var found []tables.Key
	err := c.Dump(ctx, listing(unix.NFT_MSG_GETTABLE, "list the tables"), func(m netlink.Message) {
		if t, ok := tables.ReadTable(m); ok && strings.HasPrefix(t.Name, traceTablePrefix) {
			found = append(found, t.Key)
		}
	})
	if err != nil {
		return err
	}
	for _, t := range found {
		if err := removeLeftTrace(ctx, ns, c, t); err != nil {
			return err
		}
	}
	return nil
}

func removeLeftTrace(ctx context.Context, ns *namespace.Namespace, c *netlink.Conn, t tables.Key) error {
	held, err := hold(ns, t.Name)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to see whether table %s is in use: %w", t, err)
	}
	err = deleteTable(ctx, c, t)
	if errors.Is(err, unix.ENOENT) {
		// Its trace ended meanwhile.
		err = nil
	}
	return errors.Join(err, held.Close())
}

func deleteTable(ctx context.Context, c *netlink.Conn, t tables.Key) error {
	b := tables.NewChanges(c, netlink.AnyGeneration)
	b.DeleteTable(t)
	return c.Commit(ctx, b.Batch)
}
