package nftables

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/ipset"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/others"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/record"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"golang.org/x/sys/unix"
)

// snapshot is the kernel's state at one moment: the tables of both forms, the records of
// what was asked for, and the tables of others.
type snapshot struct {
	generation uint32
	// written says that a change started from it, so the kernel's state differs by now.
	written bool

	compat compat.Tables
	native native.Table
	others others.Tables
	reader others.Reader
	record record.Table
}

// written is a snapshot's content in one form.
type written interface {
	// Ruleset returns it as the model has it.
	Ruleset() iptables.Ruleset
	// Changes appends the changes from what is ours in it to want.
	Changes(changes *tables.Changes, want iptables.Ruleset) error
}

// forms returns the backend's own form and the other.
func (b *Backend) forms(s *snapshot) (own, other written) {
	if b.native {
		return &s.native, &s.compat
	}
	return &s.compat, &s.native
}

// of returns a snapshot's content in the backend's form.
func (b *Backend) of(s *snapshot) installed.Backend {
	have := installed.Backend{Name: b.Name(), Form: installed.Form(b.Name()), Ownership: b.own, Token: s}
	if b.native {
		have.Rules, have.Faults, have.Sets = s.native.Ruleset(), s.native.Faults(), s.native.Sets()
	} else {
		have.Rules = s.compat.Ruleset()
	}
	return have
}

// maxAttempts limits retries after another program changed the rules meanwhile. Each time
// that program got one transaction done.
const maxAttempts = 100

// takeSnapshot reads everything at one generation. It starts again if somebody changes
// something meanwhile.
func takeSnapshot(ctx context.Context, c *netlink.Conn, ns *namespace.Namespace, own iptables.Ownership) (*snapshot, error) {
	for range maxAttempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := readOnce(ctx, c, own)
		switch {
		case err == nil:
			s.compat.NameSets(func(index uint16) (string, bool) { return ipset.NameOf(ns, index) })
			return s, nil
		case !isTransient(err):
			return nil, err
		}
	}
	return nil, fmt.Errorf("failed to read the rules: %w", netlink.ErrChanged)
}

// readOnce fails with [netlink.ErrChanged] if the generation changes meanwhile.
func readOnce(ctx context.Context, c *netlink.Conn, own iptables.Ownership) (*snapshot, error) {
	s := &snapshot{
		compat: compat.Tables{Ownership: own}, native: native.Table{Ownership: own},
		record: record.Table{Policies: own.Policies},
	}
	found, err := s.read(ctx, c)
	if err == nil && found {
		err = c.CheckGeneration(ctx, s.generation)
	}
	return s, err
}

// read reads list after list, and reports whether there are tables. That there is none is one
// answer, which nothing can contradict.
func (s *snapshot) read(ctx context.Context, c *netlink.Conn) (found bool, err error) {
	known := false
	s.generation, err = c.DumpWithGeneration(ctx, listing(unix.NFT_MSG_GETTABLE, "list the tables"), func(m netlink.Message) {
		found = true
		known = s.addTable(m) || known
	})
	if err != nil || !found {
		return found, err
	}
	if err := c.Dump(ctx, listing(unix.NFT_MSG_GETCHAIN, "list the chains"), s.addChain); err != nil || !known && !s.others.Any() {
		return found, err
	}
	if err := c.Dump(ctx, listing(unix.NFT_MSG_GETRULE, "list the rules"), s.addRule); err != nil {
		return found, err
	}
	if err := s.native.LoadSets(ctx, c); err != nil {
		return found, err
	}
	return found, s.reader.LoadSets(ctx, c, append(s.others.Sets(), s.compat.Sets()...))
}

// complete reads the foreign rules in iptables' tables that iptables did not write.
func (s *snapshot) complete(ctx context.Context, ns *namespace.Namespace) {
	s.reader.Links = func() map[uint32]string { return links(ctx, ns) }
	s.compat.Complete(func(key tables.Key, exprs []expression.Expression) iptables.Rule {
		return s.reader.Rule(key, key.Family, exprs)
	})
}

// listing asks for everything of a kind in all tables.
func listing(kind uint16, purpose netlink.Purpose) netlink.Request {
	return netlink.Request{Kind: netlink.NFTables(kind), Family: unix.NFPROTO_UNSPEC, Purpose: purpose}
}

// addTable reports whether the table belongs to a form, or is that of the record.
func (s *snapshot) addTable(m netlink.Message) bool {
	t, ok := tables.ReadTable(m)
	if !ok {
		return false
	}
	if s.compat.AddTable(t) || s.native.AddTable(t) {
		return true
	}
	if s.record.AddTable(t) {
		return true
	}
	if !strings.HasPrefix(t.Name, traceTablePrefix) {
		s.others.AddTable(t)
	}
	return false
}

func (s *snapshot) addChain(m netlink.Message) {
	place, c := tables.ReadChain(m)
	s.compat.AddChain(place, c)
	s.native.AddChain(place, c)
	s.others.AddChain(place, c)
	s.record.AddChain(place, c)
}

func (s *snapshot) addRule(m netlink.Message) {
	place, r := tables.ReadRule(m)
	s.compat.AddRule(place, r)
	s.native.AddRule(place, r)
	s.others.AddRule(place, r)
	s.record.AddRule(place, r)
}

// bases returns the base chains of iptables' form and of others.
func (s *snapshot) bases() []installed.Base { return append(s.compat.Bases(), s.others.Bases()...) }
