// Package expression writes and reads the nf_tables expressions that both forms share:
// interfaces, addresses, protocol, ports and marks, the counter, verdicts and jumps.
// Expressions that the model has no type for are kept as words.
//
// It writes the expressions of github.com/google/nftables/expr. It does not use that
// package's parser, which leaves out expressions and attributes that it does not know: a
// rule without one of its conditions is misread. The readers here refuse every attribute
// that they do not know.
package expression

import (
	"encoding/hex"
	"strings"

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
				e.Name = netlink.ReadString(value)
			case unix.NFTA_EXPR_DATA:
				e.Data = value
			}
		}
		list = append(list, e)
	}
	return list
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

// What the model has no type for is kept as words with all of its bytes: two such matches
// are equal only if they are the same, and a rule of ours that another tool changed can
// be written again if a change has to be undone. iptables would not take these words.

// Unknown is the name of an unknown match or target that is an expression.
const Unknown = "nft"

// words are the arguments of the expression as an unknown match or target.
func (e Expression) words() []string { return []string{e.Name, HexWord(e.Data)} }

// fromWords undoes words.
func fromWords(name string, args []string) (e Expression, ok bool) {
	if name != Unknown || len(args) != 2 {
		return e, false
	}
	e.Name = args[0]
	e.Data, ok = UnhexWord(args[1])
	return e, ok
}

// IsPartial reports whether the words of an unknown match or target cannot be written
// again: they only describe it, or the expression refers to something else in its table,
// such as an anonymous set, which goes with the rule that looks it up.
func IsPartial(name string, args []string) bool {
	if name != Unknown {
		return false
	}
	x, ok := fromWords(name, args)
	switch x.Name {
	case "lookup", "dynset", "objref", "flow_offload":
		return true
	}
	v, _ := x.Verdict()
	return !ok || v.Chain != ""
}

// HexWord returns bytes as one word, such as "0x0102".
func HexWord(b []byte) string { return "0x" + hex.EncodeToString(b) }

// UnhexWord undoes HexWord.
func UnhexWord(s string) (b []byte, ok bool) {
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	return b, ok && err == nil
}
