package nftables

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// The native form is one table for both families, "inet meshtables", which is
// ours as a whole. In it the chains of nat have their own names, those of mangle
// and raw have the table's before them, as in "mangle_ISTIO_OUTPUT": all are
// chains of one table, and nat is the one that people look for.
//
// A rule that both families have is written once. One that only one of them has
// begins with "meta nfproto" where packets of both reach it.

// inet is the family of the native table.
const inet iptables.Family = 0

var nativeKey = tableKey{inet, "meshtables"}

// anyFamily marks a rule that packets of every family meet that reach it.
const anyFamily iptables.Family = 0

// nativeTables are the tables of the model that have a place in the native one.
var nativeTables = [...]string{iptables.Raw, iptables.Mangle, iptables.Nat}

// nativeChainName returns the native name of a chain.
func nativeChainName(table, chain string) string {
	if table == iptables.Nat {
		return chain
	}
	return table + "_" + chain
}

// modelChainName undoes nativeChainName.
func modelChainName(native string) (table, chain string) {
	for _, table := range nativeTables {
		if chain, ok := strings.CutPrefix(native, table+"_"); ok {
			return table, chain
		}
	}
	return iptables.Nat, native
}

// nativeAttachment returns where a built-in chain of the native table is
// attached: right after iptables' own.
//
// So foreign rules of iptables come first, as they do where our jumps are at the
// end of its chains. And when the rules move here from iptables' tables, a packet
// that is between the two chains while the transaction takes effect has met the
// old rules and meets the new ones too; the other way round it would meet neither.
func nativeAttachment(table, chain string) (a attachment, ok bool) {
	a, ok = attachmentOf(table, chain)
	a.priority++
	return a, ok
}

// nativeRule is a rule and the family whose packets it is for.
type nativeRule struct {
	family iptables.Family // or anyFamily
	rule   iptables.Rule
}

// text is equal for equal rules, whatever the family that they were taken from.
func (r nativeRule) text() string {
	rule := r.rule
	if t, ok := rule.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = iptables.IPv6.Unspecified()
		rule.Target = t
	}
	return rule.String()
}

// of returns the rule as one of a family's own.
func (r nativeRule) of(f iptables.Family) iptables.Rule {
	rule := r.rule
	if t, ok := rule.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = f.Unspecified()
		rule.Target = t
	}
	return rule
}

// hasAddress reports whether a rule can be met by packets of one family only.
func hasAddress(r *iptables.Rule) bool {
	if r.Source != (iptables.Address{}) || r.Destination != (iptables.Address{}) {
		return true
	}
	for _, m := range r.Matches {
		if s, ok := m.(iptables.Set); ok && (s.Field == iptables.SourceAddress || s.Field == iptables.DestinationAddress) {
			return true
		}
	}
	t, ok := r.Target.(iptables.TProxy)
	return ok && !t.IP.IsUnspecified()
}

// register is the one that everything but second operands is loaded into.
const register = expression.Register
