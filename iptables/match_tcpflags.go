package iptables

import (
	"slices"
	"strings"
)

// TCPFlags matches packets of TCP whose flags, of those in Mask, are those in Value (RFC
// 9293, section 3.1). The zero value matches all.
type TCPFlags struct {
	Mask, Value byte
	Not         bool
}

// tcpFlagNames are iptables' names of the flags, the lowest first.
var tcpFlagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

func (f TCPFlags) appendSave(words []string) []string {
	if f == (TCPFlags{}) {
		return words
	}
	return append(appendNot(words, f.Not), "--tcp-flags", tcpFlagsText(f.Mask), tcpFlagsText(f.Value))
}

func tcpFlagsText(flags byte) string {
	var names []string
	for i, name := range tcpFlagNames {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "NONE"
	}
	return strings.Join(names, ",")
}

func (f TCPFlags) metBy(p *Packet) (bool, error) {
	if f == (TCPFlags{}) {
		return true, nil
	}
	flags := p.loadTCPFlags()
	if !flags.isKnown() {
		return false, &Doubt{What: strings.Join(f.appendSave(nil), " ")}
	}
	return (flags.possible.First[0]&f.Mask == f.Value) != f.Not, nil
}

// parseTCPFlags reads the option --tcp-flags, which is the last one and has two values. rest
// is what is before it.
func parseTCPFlags(words []string) (rest []string, f TCPFlags, ok bool) {
	at := slices.Index(words, "--tcp-flags")
	if at < 0 {
		return words, f, true
	}
	if at+3 != len(words) {
		return nil, f, false
	}
	mask, isMask := parseFlagNames(words[at+1])
	value, isValue := parseFlagNames(words[at+2])
	f = TCPFlags{Mask: mask, Value: value}
	if f.Not = at > 0 && words[at-1] == "!"; f.Not {
		at--
	}
	return words[:at:at], f, isMask && isValue
}

func parseFlagNames(s string) (flags byte, ok bool) {
	if s == "NONE" {
		return 0, true
	}
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(tcpFlagNames[:], name)
		if i < 0 {
			return 0, false
		}
		flags |= 1 << i
	}
	return flags, true
}
