package iptables

import (
	"slices"
	"strings"
)

// CTState is a set of states of the match "conntrack".
type CTState uint8

// The states of a packet's connection, in the order in which iptables-save
// prints them.
const (
	StateInvalid CTState = 1 << iota
	StateNew
	StateRelated
	StateEstablished
	StateUntracked
)

var stateNames = [...]string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"}

// String returns the states separated by commas.
func (s CTState) String() string {
	var names []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Conntrack is the match "conntrack" with --ctstate.
type Conntrack struct {
	States CTState
	Not    bool
}

func (m Conntrack) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "conntrack"), m.Not), "--ctstate", m.States.String())
}

// MetBy compares states.
func (m Conntrack) MetBy(p *Packet) (bool, error) {
	return (m.States&p.connectionState() != 0) != m.Not, nil
}

func parseConntrack(args []arg) Match {
	if len(args) != 1 || args[0].name != "--ctstate" {
		return nil
	}
	m := Conntrack{Not: args[0].not}
	for name := range strings.SplitSeq(args[0].value, ",") {
		i := slices.Index(stateNames[:], name)
		if i < 0 {
			return nil
		}
		m.States |= 1 << i
	}
	return m
}
