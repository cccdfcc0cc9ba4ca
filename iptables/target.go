package iptables

import "slices"

// Target is what a rule does to a packet that matches ("-j"). The implementations are
// types of this package; a type switch over them is complete if it also has a default
// that fails.
type Target interface {
	// appendSave adds the target as iptables-save prints it, "-j" included.
	appendSave(words []string) []string
}

// Alteration is a target that only changes what later rules see of a packet. The next
// rule follows.
type Alteration interface {
	Target
	Alter(*Packet)
}

// Verdict is one of the targets that need no module: Accept, Drop, Return.
type Verdict string

// The verdicts. Accept ends the walk through the table, Drop discards the
// packet, Return goes back to the calling chain, or to the policy of a built-in
// chain.
const (
	Accept Verdict = "ACCEPT"
	Drop   Verdict = "DROP"
	Return Verdict = "RETURN"
)

func (t Verdict) appendSave(words []string) []string { return append(words, "-j", string(t)) }

// Jump continues in another chain and comes back at its end.
type Jump struct {
	Chain string
}

func (t Jump) appendSave(words []string) []string { return append(words, "-j", t.Chain) }

// Goto continues in another chain and does not come back.
type Goto struct {
	Chain string
}

func (t Goto) appendSave(words []string) []string { return append(words, "-g", t.Chain) }

// UnknownTarget is a target that this package has no type for. Only rules that were read
// have it. [ParseSave] keeps the words as they are, quotes included, to print them again.
type UnknownTarget struct {
	Name string
	Args []string
	// Kept is what the reader needs to write the target again; nil if the words are
	// enough. Nobody else looks at it.
	Kept any
}

func (t UnknownTarget) appendSave(words []string) []string {
	return append(append(words, "-j", t.Name), t.Args...)
}

// parseTarget reads the arguments of "-j NAME". A name without arguments that is neither
// a verdict nor a known target is a chain.
func parseTarget(family Family, name string, words []string) Target {
	var t Target
	args, ok := splitArgs(words)
	switch {
	case !ok:
		// Known targets have a value with every option, or no options.
	case name == "REDIRECT":
		t = parseRedirect(args)
	case name == "TPROXY":
		t = parseTProxy(family, args)
	case name == "MARK":
		t = parseSetMark(args)
	case name == "SNAT":
		t = parseSNAT(args)
	case name == "CT":
		t = parseCTZone(args)
	case len(words) == 0 && (Verdict(name) == Accept || Verdict(name) == Drop || Verdict(name) == Return):
		t = Verdict(name)
	case len(words) == 0:
		t = Jump{name}
	}
	if name == "CONNMARK" {
		t = parseConnmarkTarget(words)
	}
	if t == nil || !slices.Equal(t.appendSave(nil)[2:], words) {
		return UnknownTarget{Name: name, Args: words}
	}
	return t
}
