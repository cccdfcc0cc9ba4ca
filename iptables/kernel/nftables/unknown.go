package nftables

import (
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"

	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// What the model has no type for is kept as words that hold all of its bytes:
// two such matches are equal only if they are the same, and a rule of ours that
// another tool put there can be written again if a change has to be taken back.
// But for comments they are no words that iptables would take.

// nativeName is the name of an unknown match or target that is a native
// expression of nf_tables.
const nativeName = "nft"

// rawExpressionArgs are the words of a native expression.
func rawExpressionArgs(e expression) []string { return []string{e.name, hexWord(e.data)} }

// rawExpression undoes rawExpressionArgs.
func rawExpression(name string, args []string) (e expression, ok bool) {
	if name != nativeName || len(args) != 2 {
		return e, false
	}
	e.name = args[0]
	e.data, ok = unhexWord(args[1])
	return e, ok
}

// commentSize is that of struct xt_comment_info (linux/netfilter/xt_comment.h),
// which is one string.
const commentSize = 256

// unknownArgs are the words of an extension.
func unknownArgs(x extension) []string {
	if x.is("comment", 0) {
		return []string{"--comment", quote(netlink.ReadString(x.info))}
	}
	return []string{"rev", strconv.FormatUint(uint64(x.revision), 10), hexWord(x.info)}
}

// unknownExtension undoes unknownArgs.
func unknownExtension(name string, args []string) (extension, error) {
	if name == "comment" && len(args) == 2 && args[0] == "--comment" {
		info := make([]byte, commentSize)
		copy(info[:commentSize-1], unquote(args[1]))
		return newExtension(name, 0, info), nil
	}
	if len(args) == 3 && args[0] == "rev" {
		revision, err := strconv.ParseUint(args[1], 10, 32)
		info, ok := unhexWord(args[2])
		if err == nil && ok {
			return extension{name, uint32(revision), info}, nil
		}
	}
	return extension{}, fmt.Errorf("there is no way to write %s %s", name, strings.Join(args, " "))
}

func hexWord(b []byte) string { return "0x" + hex.EncodeToString(b) }

func unhexWord(s string) (b []byte, ok bool) {
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	return b, ok && err == nil
}

// quote writes a string as iptables-save does (xtables_save_string in
// libxtables/xtables.c).
func quote(s string) string {
	plain := func(r rune) bool {
		return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, `'`, `\'`).Replace(s) + `"`
}

// unquote undoes quote.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\'`, `'`).Replace(s[1 : len(s)-1])
}
