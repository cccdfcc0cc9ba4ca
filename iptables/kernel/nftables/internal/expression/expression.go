// Package expression writes and reads the nf_tables expressions that both forms share:
// interfaces, addresses, protocol, ports and marks, the counter, verdicts and jumps.
// Expressions that the model has no type for are kept as words.
//
// It does not use github.com/google/nftables/expr, with which tests compare it. That
// package's parser leaves out expressions and attributes that it does not know: a rule
// without one of its conditions is misread. The readers here refuse every attribute that
// they do not know. And it makes slices of slices for each expression that it writes, which
// takes longer than the kernel does with thousands of rules.
package expression

import (
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// Register is the register that both forms load everything into.
const Register = unix.NFT_REG_1

// Expression is one expression of a rule, as the kernel returns it.
type Expression struct {
	Name string
	Data []byte // the attributes of NFTA_EXPR_DATA
}

// Append reads NFTA_RULE_EXPRESSIONS. The expressions share the memory of b.
func Append(list []Expression, b []byte) []Expression {
	for _, element := range netlink.Attributes(b) {
		var e Expression
		for kind, value := range netlink.Attributes(element) {
			switch kind {
			case unix.NFTA_EXPR_NAME:
				e.Name = nameOf(value)
			case unix.NFTA_EXPR_DATA:
				e.Data = value
			}
		}
		list = append(list, e)
	}
	return list
}

// nameOf is [netlink.ReadString] that makes no copy of the names that long lists have
// thousands of times.
func nameOf(b []byte) string {
	for _, name := range [...]string{"payload", "cmp", "meta", "match", "counter", "immediate", "bitwise"} {
		if len(b) == len(name)+1 && string(b[:len(name)]) == name && b[len(name)] == 0 {
			return name
		}
	}
	return netlink.ReadString(b)
}

// ReadData reads NFTA_DATA_VALUE.
func ReadData(b []byte) (data []byte) {
	for kind, value := range netlink.Attributes(b) {
		if kind == unix.NFTA_DATA_VALUE {
			data = value
		}
	}
	return data
}

// Unknown is the name of an unknown match or target that is an expression. iptables would
// not take it.
const Unknown = "nft"

// words are the arguments of the expression as an unknown match or target. The expression
// is kept beside them: a rule of ours that another tool changed can be written again if a
// change has to be undone.
func (e Expression) words() []string { return []string{e.Name, NotUnderstood} }

// NotUnderstood stands for the arguments of what the model has no words for.
const NotUnderstood = "(not understood)"

// IsPartial reports whether an unknown match or target cannot be written again: it only
// describes something, or the expression refers to something else in its table, such as an
// anonymous set, which goes with the rule that looks it up.
func IsPartial(name string, kept any) bool {
	if name != Unknown {
		return false
	}
	x, ok := kept.(Expression)
	switch x.Name {
	case "lookup", "dynset", "objref", "flow_offload":
		return true
	}
	v, _ := x.Verdict()
	return !ok || v.Chain != ""
}
