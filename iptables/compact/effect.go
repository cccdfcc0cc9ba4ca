package compact

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// effect is what a target does to a packet, as far as the rules after it are
// concerned.
type effect struct {
	// decides: no packet goes on to the next rule of the chain.
	decides bool
	// pure: a packet that goes on does so as it was, so that meeting the
	// target again does nothing new.
	pure bool
}

// effects knows the effect of every target in a table.
type effects struct {
	table *iptables.Table
	known map[string]effect
}

func effectsIn(t *iptables.Table) *effects {
	return &effects{table: t, known: make(map[string]effect)}
}

func (e *effects) of(t iptables.Target) effect {
	switch t := t.(type) {
	case nil:
		return effect{pure: true}
	case iptables.Verdict, iptables.Goto, iptables.Redirect, iptables.TProxy:
		return effect{decides: true, pure: true}
	case iptables.Jump:
		return e.ofChain(t.Chain)
	}
	return effect{}
}

func (e *effects) ofChain(name string) effect {
	if known, ok := e.known[name]; ok {
		return known
	}
	// A chain that jumps back to itself is left at this.
	e.known[name] = effect{}
	chain := e.table.Chain(name)
	if chain == nil {
		return effect{}
	}
	var whole effect
	// Some packets may leave it before they get to where it ends.
	whole.decides = slices.ContainsFunc(chain.Rules, e.ends) && !slices.ContainsFunc(chain.Rules, mayLeave)
	whole.pure = whole.decides || !slices.ContainsFunc(chain.Rules, e.leavesTrace)
	e.known[name] = whole
	return whole
}

// leavesTrace reports whether a packet may come back from a rule's target, be it
// to the calling chain, other than it was.
func (e *effects) leavesTrace(r iptables.Rule) bool {
	if t, ok := r.Target.(iptables.Goto); ok {
		return !e.ofChain(t.Chain).pure
	}
	return !e.of(r.Target).pure
}

// ends reports whether a rule decides about every packet.
func (e *effects) ends(r iptables.Rule) bool {
	if r.Target != iptables.Accept && r.Target != iptables.Drop {
		return false
	}
	c := conditionsOf(r)
	return c.unconditional()
}

// mayLeave reports whether a rule can send a packet back to the calling chain.
func mayLeave(r iptables.Rule) bool {
	_, isGoto := r.Target.(iptables.Goto)
	return isGoto || r.Target == iptables.Return
}
