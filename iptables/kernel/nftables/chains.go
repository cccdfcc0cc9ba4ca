package nftables

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// baseChain is a base chain of a table.
type baseChain struct {
	key tables.Key
	tables.Chain
}

// chains returns the base chains of neither form that packets pass and that do something
// to them.
func (s *snapshot) chains() []installed.Chain {
	var all []installed.Chain
	for _, c := range s.others {
		hook, known := tables.HookName(c.Attached.Hook)
		if !known || s.dormant[c.key] || c.isOfForm() || c.IsIdle() {
			continue
		}
		all = append(all, installed.Chain{
			Table: c.key.String(), Name: c.Name, Hook: hook, Priority: c.Attached.Priority,
			Rules: c.Use, Policy: c.Policy, Before: c.before(hook),
		})
	}
	return all
}

// isOfForm reports whether a base chain belongs to a form, whose rules are read, or to a
// trace.
func (c *baseChain) isOfForm() bool {
	if native.IsTable(c.key) || strings.HasPrefix(c.key.Name, traceTablePrefix) {
		return true
	}
	if c.key.Family == tables.Inet || !tables.IsBuiltin(c.key.Name, c.Name) {
		return false
	}
	at, ok := tables.AttachmentOf(c.key.Name, c.Name)
	return !ok || c.Attached == at
}

// before returns the tables whose built-in chain comes after a base chain at the same
// hook. Of two chains with the same priority, the one attached last comes first
// (nf_hook_entries_grow in net/netfilter/core.c), so it may be either.
func (c *baseChain) before(hook string) []installed.Place {
	var places []installed.Place
	add := func(form installed.Form, table string, at tables.Attachment, ok bool) {
		if !ok || c.Attached.Priority > at.Priority {
			return
		}
		for _, f := range iptables.Families() {
			if c.key.Family == tables.Inet || c.key.Family == f {
				places = append(places, installed.Place{Form: form, Family: f, Table: table})
			}
		}
	}
	for _, table := range []string{iptables.Raw, iptables.Mangle, iptables.Nat} {
		at, ok := tables.AttachmentOf(table, hook)
		add(installed.NFT, table, at, ok)
		at, ok = native.AttachmentOf(table, hook)
		add(installed.Native, table, at, ok)
	}
	return places
}
