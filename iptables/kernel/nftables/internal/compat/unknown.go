package compat

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
)

// commentSize is that of struct xt_comment_info (linux/netfilter/xt_comment.h),
// which is one string.
const commentSize = 256

// unknownArgs are words that hold all bytes of an extension that the model has no
// type for. But for comments they are no words that iptables would take.
func unknownArgs(x extension) []string {
	if x.is("comment", 0) {
		return []string{"--comment", quote(netlink.ReadString(x.info))}
	}
	return []string{"rev", strconv.FormatUint(uint64(x.revision), 10), expression.HexWord(x.info)}
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
		info, ok := expression.UnhexWord(args[2])
		if err == nil && ok {
			return extension{name, uint32(revision), info}, nil
		}
	}
	return extension{}, fmt.Errorf("there is no way to write %s %s", name, strings.Join(args, " "))
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
