package nftables

import (
	"context"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// scope is what of the kernel's rules is read. Lists can be long, and whoever is about
// one form does without the other.
type scope struct {
	compat, native bool
	// sets are those of the native table, without which its rules are unknown:
	// whoever removes it does without them.
	sets bool
}

// everything is what both forms have.
var everything = scope{compat: true, native: true, sets: true}

// family is that of the tables in the scope.
func (s scope) family() byte {
	if !s.compat {
		return unix.NFPROTO_INET
	}
	return unix.NFPROTO_UNSPEC
}

// snapshot is what the kernel held at one moment of what is in the scope.
type snapshot struct {
	scope      scope
	generation uint32
	compat     compat.Tables
	native     native.Table
}

// written is what a snapshot has in one form.
type written interface {
	// Ruleset returns it in the words of the model.
	Ruleset() iptables.Ruleset
	// Changes appends what makes what is ours of it into want.
	Changes(changes *tables.Changes, want iptables.Ruleset) error
}

// of returns what the backend's form has of a snapshot.
func (b *Backend) of(s *snapshot) installed.Backend {
	have := installed.Backend{Name: b.Name(), Form: installed.Form(b.Name())}
	if b.native {
		have.Rules, have.Faults = s.native.Ruleset(), s.native.Faults()
	} else {
		have.Rules = s.compat.Ruleset()
	}
	return have
}

// forms returns the backend's own form and the other.
func (b *Backend) forms(s *snapshot) (own, other written) {
	if b.native {
		return &s.native, &s.compat
	}
	return &s.compat, &s.native
}

// maxAttempts bounds how often something is tried again because another program
// changed the rules meanwhile. Each time that program got on by one transaction.
const maxAttempts = 100

// takeSnapshot reads what is in the scope at one generation.
func takeSnapshot(ctx context.Context, c *netlink.Conn, of scope) (s *snapshot, err error) {
	err = undisturbed(ctx, func() (err error) {
		s, err = readOnce(c, of)
		return err
	})
	return s, err
}

// undisturbed reads again as long as somebody changes meanwhile what is read.
func undisturbed(ctx context.Context, read func() error) error {
	for range maxAttempts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := read(); err == nil || !isTransient(err) {
			return err
		}
	}
	return fmt.Errorf("failed to read the rules: %w", netlink.ErrChanged)
}

// readOnce fails with [netlink.ErrChanged] unless what it read is one generation.
func readOnce(c *netlink.Conn, of scope) (*snapshot, error) {
	generation, err := c.Generation()
	if err != nil {
		return nil, err
	}
	s := &snapshot{scope: of, generation: generation}
	if err := s.read(c); err != nil {
		return nil, err
	}
	if after, err := c.Generation(); err != nil {
		return nil, err
	} else if after != generation {
		return nil, netlink.ErrChanged
	}
	return s, nil
}

func (s *snapshot) read(c *netlink.Conn) error {
	found := false
	err := list(c, s.scope.family(), unix.NFT_MSG_GETTABLE, "list the tables", func(m netlink.Message) {
		found = s.addTable(m) || found
	})
	if err != nil || !found {
		return err
	}
	if err := list(c, s.scope.family(), unix.NFT_MSG_GETCHAIN, "list the chains", s.addChain); err != nil {
		return err
	}
	if err := list(c, s.scope.family(), unix.NFT_MSG_GETRULE, "list the rules", s.addRule); err != nil {
		return err
	}
	if !s.scope.sets {
		return nil
	}
	return s.native.LoadSets(c)
}

// list reads what there is of a kind in all tables of a family.
func list(c *netlink.Conn, family byte, kind uint16, purpose netlink.Purpose, each func(netlink.Message)) error {
	return c.Dump(netlink.Request{Kind: netlink.NFTables(kind), Family: family, Purpose: purpose}, each)
}

// addTable reports whether a form in the scope has the table.
func (s *snapshot) addTable(m netlink.Message) bool {
	t, ok := tables.ReadTable(m)
	return ok && (s.scope.compat && s.compat.AddTable(t) || s.scope.native && s.native.AddTable(t))
}

func (s *snapshot) addChain(m netlink.Message) {
	place, c := tables.ReadChain(m)
	s.compat.AddChain(place, c)
	s.native.AddChain(place, c)
}

func (s *snapshot) addRule(m netlink.Message) {
	place, r := tables.ReadRule(m)
	s.compat.AddRule(place, r)
	s.native.AddRule(place, r)
}
