package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"golang.org/x/sys/unix"
)

// listenBuffer is room for the reports of some thousand changes, which one transaction can
// make while nothing is read. What does not fit is known to be lost.
const listenBuffer = 4 << 20

// Listener listens to the transactions of a network namespace (NFNLGRP_NFTABLES,
// linux/netfilter/nfnetlink.h): the kernel reports each change of one, and then the
// transaction (nf_tables_commit in net/netfilter/nf_tables_api.c).
type Listener struct {
	socket *netlink.KernelSocket
	own    iptables.Ownership
	// touched says that the transaction which is being reported changes something of ours.
	touched bool
	// ready are the transactions that have been reported and not returned yet.
	ready []Change
}

// Change is a transaction that may have changed something of ours.
type Change struct {
	// By is the program that made it, such as "nft (process 4242)", by its number on the
	// machine; empty if that is not known.
	By string
	// Overrun says that reports were lost: anything may have changed.
	Overrun bool
}

// Listen listens from now on. The caller closes it.
func Listen(ns *namespace.Namespace, own iptables.Ownership) (*Listener, error) {
	s, err := ns.ListenNetfilter(unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, fmt.Errorf("failed to listen to changes of nf_tables: %w", err)
	}
	s.SetBuffer(listenBuffer)
	return &Listener{socket: s, own: own}, nil
}

// Close ends listening.
func (l *Listener) Close() error { return l.socket.Close() }

// Next waits for the next transaction that changes a chain of ours, or one that has rules of
// ours: others, such as those of kube-proxy, come by the second on some nodes. The error is
// that of the context, or says why nobody can listen any more.
func (l *Listener) Next(ctx context.Context) (Change, error) {
	for len(l.ready) == 0 {
		b, err := l.socket.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return Change{}, context.Cause(ctx)
		case errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return Change{Overrun: true}, nil
		case err != nil:
			return Change{}, fmt.Errorf("failed to listen to changes of nf_tables: %w", err)
		}
		for m, err := range netlink.Messages(b) {
			if err != nil {
				return Change{}, err
			}
			l.read(m)
		}
	}
	first := l.ready[0]
	l.ready = l.ready[1:]
	return first, nil
}

func (l *Listener) read(m netlink.Message) {
	if m.Kind != netlink.NFTables(unix.NFT_MSG_NEWGEN) {
		l.touched = l.touched || l.touches(m)
		return
	}
	if l.touched {
		l.ready = append(l.ready, Change{By: author(m)})
	}
	l.touched = false
}

// author returns who made a transaction. The number is that of the thread.
func author(generation netlink.Message) string {
	name, process := "", uint32(0)
	for kind, value := range generation.Attributes() {
		switch kind {
		case unix.NFTA_GEN_PROC_NAME:
			name = netlink.ReadString(value)
		case unix.NFTA_GEN_PROC_PID:
			process = netlink.ReadUint32(value)
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s (process %d)", name, process)
}

// touches reports whether a change is to something of ours.
func (l *Listener) touches(m netlink.Message) bool {
	family, known := tables.FamilyOf(m.Family())
	if !known || m.Kind>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false
	}
	key, chain := tables.Key{Family: family}, ""
	for kind, value := range m.Attributes() {
		switch {
		// NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE and
		// NFTA_SET_ELEM_LIST_TABLE are the same number.
		case kind == unix.NFTA_TABLE_NAME:
			key.Name = netlink.ReadString(value)
		case kind == chainAttribute(m.Kind):
			chain = netlink.ReadString(value)
		}
	}
	switch {
	case native.IsTable(key):
		return true
	case !slices.Contains([]string{iptables.Raw, iptables.Mangle, iptables.Nat}, key.Name):
		return false
	case chain == "":
		return m.Kind == netlink.NFTables(unix.NFT_MSG_NEWTABLE) || m.Kind == netlink.NFTables(unix.NFT_MSG_DELTABLE)
	}
	_, builtin := tables.AttachmentOf(installed.NFT, key.Name, chain)
	return builtin || l.own.Owns(chain)
}

// chainAttribute returns which attribute of a message names a chain; 0 for none.
func chainAttribute(kind uint16) uint16 {
	switch kind {
	case netlink.NFTables(unix.NFT_MSG_NEWCHAIN), netlink.NFTables(unix.NFT_MSG_DELCHAIN):
		return unix.NFTA_CHAIN_NAME
	case netlink.NFTables(unix.NFT_MSG_NEWRULE), netlink.NFTables(unix.NFT_MSG_DELRULE):
		return unix.NFTA_RULE_CHAIN
	}
	return 0
}
