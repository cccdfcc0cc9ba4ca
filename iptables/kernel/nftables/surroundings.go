package nftables

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Surroundings are what of nf_tables packets meet beside the rules of a form.
type Surroundings struct {
	// Before are the tables of iptables, which packets meet before those of the
	// native form; see [installed.Path]. For the other form it is empty: Load
	// returns them.
	Before iptables.Ruleset
	// Chains are those that are of neither form.
	Chains []ForeignChain
}

// ForeignChain is a base chain, at a hook that iptables has too, with rules that
// nobody here reads or a policy that drops.
type ForeignChain struct {
	// Table is the table as nft has it, such as "inet filter".
	Table, Chain string
	// Hook is the built-in chain that iptables has at the hook, Priority the place
	// there (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h).
	Hook     string
	Priority int32
	Rules    int
	Policy   iptables.Policy
	// First says that packets meet it before rules of ours.
	First bool
}

// String returns words such as "chain o of table inet filter (OUTPUT, priority 0, rules:
// 2, policy ACCEPT)".
func (c ForeignChain) String() string {
	return fmt.Sprintf("chain %s of table %s (%s, priority %d, rules: %d, policy %s)", c.Chain, c.Table, c.Hook, c.Priority, c.Rules, c.Policy)
}

// Surroundings returns what packets meet beside rules of ours that are installed in
// the backend's form. Refusals of the kernel are an *[Error].
func (b *Backend) Surroundings(ctx context.Context, ours iptables.Ruleset) (around Surroundings, err error) {
	err = b.connected(func(c *netlink.Conn) error {
		err := undisturbed(ctx, func() (err error) {
			around.Chains, err = b.foreignChains(c, ours.Own())
			return err
		})
		if err != nil || !b.native {
			return err
		}
		s, err := takeSnapshot(ctx, c, scope{compat: true})
		if err != nil {
			return err
		}
		around.Before = s.compat.Ruleset()
		return nil
	})
	return around, err
}

// foreignChains returns the base chains that packets meet and that are of neither form.
// Those of a dormant table they do not meet.
func (b *Backend) foreignChains(c *netlink.Conn, ours iptables.Ruleset) ([]ForeignChain, error) {
	dormant := make(map[tables.Key]bool)
	err := list(c, unix.NFPROTO_UNSPEC, unix.NFT_MSG_GETTABLE, "list the tables", func(m netlink.Message) {
		if t, ok := tables.ReadTable(m); ok {
			dormant[t.Key] = t.Flags&unix.NFT_TABLE_F_DORMANT != 0
		}
	})
	if err != nil {
		return nil, err
	}
	var all []ForeignChain
	err = list(c, unix.NFPROTO_UNSPEC, unix.NFT_MSG_GETCHAIN, "list the chains", func(m netlink.Message) {
		place, chain := tables.ReadChain(m)
		key, ok := place.Key()
		hook, known := tables.HookName(chain.Attached.Hook)
		if !ok || !chain.Base || !known || dormant[key] || isKnown(key, chain) || chain.IsIdle() {
			return
		}
		all = append(all, ForeignChain{
			Table: key.String(), Chain: chain.Name, Hook: hook, Priority: chain.Attached.Priority,
			Rules: chain.Use, Policy: chain.Policy, First: b.comesFirst(key.Family, chain.Attached, ours),
		})
	})
	return all, err
}

// isKnown reports whether a base chain is one of those that are read, or of a trace.
func isKnown(key tables.Key, c tables.Chain) bool {
	if native.IsTable(key) || strings.HasPrefix(key.Name, traceTablePrefix) {
		return true
	}
	if key.Family == tables.Inet || !tables.IsBuiltin(key.Name, c.Name) {
		return false
	}
	at, ok := tables.AttachmentOf(key.Name, c.Name)
	return !ok || c.Attached == at
}

// comesFirst reports whether packets meet a chain of tables of a family, or of both,
// before a built-in chain that jumps to rules of ours. Of two chains with the same
// priority they meet first the one that was attached last (nf_hook_entries_grow in
// net/netfilter/core.c), so either may be that.
func (b *Backend) comesFirst(f iptables.Family, at tables.Attachment, ours iptables.Ruleset) bool {
	return slices.ContainsFunc(ours.Tables, func(t iptables.Table) bool {
		return (f == tables.Inet || f == t.Family) && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool {
			own, ok := b.attachmentOf(t.Name, c.Name)
			return ok && own.Hook == at.Hook && at.Priority <= own.Priority
		})
	})
}

// attachmentOf returns where the backend's form has a built-in chain.
func (b *Backend) attachmentOf(table, chain string) (tables.Attachment, bool) {
	if b.native {
		return native.AttachmentOf(table, chain)
	}
	return tables.AttachmentOf(table, chain)
}
