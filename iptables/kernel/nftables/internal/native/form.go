package native

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// The native form is one table for both families, "inet meshtables", which is
// ours as a whole. In it the chains of nat have their own names, those of mangle
// and raw have the table's before them, as in "mangle_OUTPUT": all are
// chains of one table, and nat is the one that people look for.
//
// A rule that both families have is written once. One that only one of them has
// asks for the family, "meta nfproto", where packets of both reach it.

var tableKey = tables.Key{Family: tables.Inet, Name: "meshtables"}

// IsTable reports whether a table is the native one.
func IsTable(table tables.Key) bool { return table == tableKey }

// anyFamily marks a rule that packets of every family meet that reach it.
const anyFamily iptables.Family = 0

// modelTables are the tables of the model that have a place in the native one.
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

// AttachmentOf returns where a built-in chain of the native table is
// attached: right after iptables' own.
//
// So foreign rules of iptables come first, as they do where our jumps are at the
// end of its chains. And when the rules move here from iptables' tables, a packet
// that is between the two chains while the transaction takes effect has met the
// old rules and meets the new ones too; the other way round it would meet neither.
func AttachmentOf(table, chain string) (a tables.Attachment, ok bool) {
	a, ok = tables.AttachmentOf(table, chain)
	a.Priority++
	return a, ok
}

// rule is a rule and the family whose packets it is for.
type rule struct {
	family iptables.Family // or anyFamily
	rule   iptables.Rule
	// uncounted says of an installed rule that it has no counter.
	uncounted bool
	// handles are the kernel's names of it, where it is installed: two if it
	// is TPROXY with its guard.
	handles []uint64
}

// isFor reports whether packets of a family meet the rule.
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

// of returns the rule as one of a family's own, with native names of chains.
func (r rule) of(f iptables.Family) iptables.Rule {
	rule := r.rule
	rule.Shared = r.family == anyFamily
	if t, ok := rule.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = f.Unspecified()
		rule.Target = t
	}
	return rule
}

// hasAddress reports whether a rule can be met by packets of one family only.
func hasAddress(r *iptables.Rule) bool {
	t, ok := r.Target.(iptables.TProxy)
	return asksForAddress(r) || ok && !t.IP.IsUnspecified()
}

// asksForAddress reports whether a rule has a condition on an address.
func asksForAddress(r *iptables.Rule) bool {
	return hasOwnAddress(r) || slices.ContainsFunc(r.Matches, isOfAddress)
}

// hasOwnAddress reports whether the rule itself has such a condition, not a match.
func hasOwnAddress(r *iptables.Rule) bool {
	return r.Source != (iptables.Address{}) || r.Destination != (iptables.Address{})
}

func isOfAddress(m iptables.Match) bool {
	s, ok := m.(iptables.Set)
	return ok && (s.Field == iptables.SourceAddress || s.Field == iptables.DestinationAddress)
}

// register is the one that everything but second operands is loaded into.
const register = expression.Register
