package iptables

import (
	"fmt"
	"strconv"
	"strings"
)

// Mark is the match "mark". It compares the packet's mark with Value in the bits of Mask.
type Mark struct {
	Value, Mask uint32
	Not         bool
}

func (m Mark) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "mark"), m.Not), "--mark", maskedMark(m.Value, m.Mask))
}

// MetBy compares the packet's mark.
func (m Mark) MetBy(p *Packet) (bool, error) { return (p.Mark&m.Mask == m.Value) != m.Not, nil }

// Connmark is the match "connmark": [Mark] for the mark of the packet's connection.
type Connmark struct {
	Value, Mask uint32
	Not         bool
}

func (m Connmark) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "connmark"), m.Not), "--mark", maskedMark(m.Value, m.Mask))
}

// MetBy compares the mark of the packet's connection. A packet without a connection
// matches neither this nor its negation (connmark_mt in net/netfilter/xt_connmark.c).
func (m Connmark) MetBy(p *Packet) (bool, error) {
	return p.HasConnection() && (p.ConnMark&m.Mask == m.Value) != m.Not, nil
}

// FullMask selects all bits of a mark.
const FullMask = 0xffffffff

func maskedMark(value, mask uint32) string {
	if mask == FullMask {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

func parseMark(args []arg) Match {
	if value, mask, not, ok := parseMarkMatch(args); ok {
		return Mark{value, mask, not}
	}
	return nil
}

func parseConnmark(args []arg) Match {
	if value, mask, not, ok := parseMarkMatch(args); ok {
		return Connmark{value, mask, not}
	}
	return nil
}

func parseMarkMatch(args []arg) (value, mask uint32, not, ok bool) {
	if len(args) != 1 || args[0].name != "--mark" {
		return 0, 0, false, false
	}
	value, mask, ok = parseMaskedMark(args[0].value)
	return value, mask, args[0].not, ok
}

// parseMaskedMark reads "value" or "value/mask".
func parseMaskedMark(s string) (value, mask uint32, ok bool) {
	first, second, hasMask := strings.Cut(s, "/")
	if !hasMask {
		second = "0xffffffff"
	}
	v, err1 := strconv.ParseUint(first, 0, 32)
	m, err2 := strconv.ParseUint(second, 0, 32)
	return uint32(v), uint32(m), err1 == nil && err2 == nil
}
