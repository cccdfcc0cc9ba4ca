package iptables

import "slices"

// Match is an extension match ("-m"). The implementations are types of this
// package; a type switch over them is complete if it also has a default that fails.
type Match interface {
	// appendSave adds the match as iptables-save prints it, "-m" included.
	appendSave(words []string) []string

	// MetBy reports whether a packet matches. It returns an error if this package cannot
	// tell: a guess would be worse.
	MetBy(*Packet) (bool, error)
}

func appendNot(words []string, not bool) []string {
	if not {
		words = append(words, "!")
	}
	return words
}

// parseMatch reads the arguments of "-m NAME". What it does not fully understand becomes
// an UnknownMatch: better unknown than wrong.
func parseMatch(name string, words []string) Match {
	var m Match
	args, ok := splitArgs(words)
	switch {
	case name == "tcp" || name == "udp":
		m = parsePorts(Protocol(name), words)
	case name == "owner" && slices.Equal(words, []string{socketExists}):
		m = Owner{Socket: true}
	case name == "set":
		m = parseNamedSet(words)
	case !ok:
		// The other known matches have a value with every option.
	case name == "multiport":
		m = parseMultiport(args)
	case name == "owner":
		m = parseOwner(args)
	case name == "conntrack":
		m = parseConntrack(args)
	case name == "mark":
		m = parseMark(args)
	case name == "connmark":
		m = parseConnmark(args)
	case name == commentName:
		m = parseComment(args)
	}
	// Reading it again has to give the same, so a form that is not canonical stays as it
	// is.
	if m == nil || !slices.Equal(m.appendSave(nil)[2:], words) {
		return UnknownMatch{Name: name, Args: words}
	}
	return m
}

// arg is one option of an extension: "[!] --name value".
type arg struct {
	not         bool
	name, value string
}

// splitArgs reads words as options that have one value each.
func splitArgs(words []string) (args []arg, ok bool) {
	for len(words) > 0 {
		var a arg
		if a.not = words[0] == "!"; a.not {
			words = words[1:]
		}
		if len(words) < 2 {
			return nil, false
		}
		a.name, a.value = words[0], words[1]
		args = append(args, a)
		words = words[2:]
	}
	return args, true
}
