package native

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// The native form is one table for both families, "inet meshtables". The whole table is
// ours. Chains of nat keep their names. Those of mangle and raw have the table's name as
// a prefix, as in "mangle_OUTPUT": all are chains of one table, and people look for nat.
//
// A rule of both families is written once. A rule of one family matches the family, "meta
// nfproto", if packets of both reach it.

var tableKey = tables.Key{Family: tables.Inet, Name: "meshtables"}

// IsTable reports whether a table is the native one.
func IsTable(table tables.Key) bool { return table == tableKey }

// anyFamily marks a rule for packets of every family that reach it.
const anyFamily iptables.Family = 0

// modelTables are the tables of the model that the native table can hold.
var modelTables = [...]string{iptables.Raw, iptables.Mangle, iptables.Nat}

// nameOf returns the native name of a chain.
func nameOf(table, chain string) string {
	if table == iptables.Nat {
		return chain
	}
	return table + "_" + chain
}

// modelName undoes nameOf.
func modelName(native string) (table, chain string) {
	for _, table := range modelTables {
		if chain, ok := strings.CutPrefix(native, table+"_"); ok && nameOf(table, chain) == native {
			return table, chain
		}
	}
	return iptables.Nat, native
}

// attachmentOf returns the place of a built-in chain.
func attachmentOf(table, chain string) (a tables.Attachment, ok bool) {
	return tables.AttachmentOf(installed.Native, table, chain)
}

// rule is a rule and the family it is for.
type rule struct {
	family iptables.Family // or anyFamily
	rule   iptables.Rule
	// uncounted says that an installed rule has no counter.
	uncounted bool
	// handles are the kernel's names of an installed rule: two if it is TPROXY with its
	// guard.
	handles []uint64
}

// isFor reports whether the rule is for packets of a family.
func (r rule) isFor(f iptables.Family) bool { return r.family == anyFamily || r.family == f }

// text is equal for equal rules, whatever the family that they were taken from.
func (r rule) text() string {
	rule := r.rule
	if t, ok := rule.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = iptables.IPv6.Unspecified()
		rule.Target = t
	}
	return rule.String()
}

// of returns the rule as a rule of one family, with native chain names.
func (r rule) of(f iptables.Family) iptables.Rule {
	rule := r.rule
	rule.Shared = r.family == anyFamily
	if t, ok := rule.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = f.Unspecified()
		rule.Target = t
	}
	return rule
}

// hasAddress reports whether only packets of one family can match a rule.
func hasAddress(r *iptables.Rule) bool {
	t, ok := r.Target.(iptables.TProxy)
	_, renames := r.Target.(iptables.SNAT)
	return asksForAddress(r) || renames || ok && !t.IP.IsUnspecified()
}

// asksForAddress reports whether a rule matches an address.
func asksForAddress(r *iptables.Rule) bool {
	return hasOwnAddress(r) || slices.ContainsFunc(r.Matches, isOfAddress)
}

// hasOwnAddress reports whether the rule itself has such a condition, not a match.
func hasOwnAddress(r *iptables.Rule) bool {
	return r.Source != (iptables.Address{}) || r.Destination != (iptables.Address{})
}

func isOfAddress(m iptables.Match) bool {
	if _, ok := m.(iptables.NamedSet); ok {
		return true
	}
	s, ok := m.(iptables.Set)
	return ok && (s.Field == iptables.SourceAddress || s.Field == iptables.DestinationAddress)
}

// register is where everything but second operands is loaded.
const register = expression.Register
