package others

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// decoder works through the expressions of one rule.
type decoder struct {
	family iptables.Family // of the packets
	link   func(uint32) string
	set    func(string) *set

	rest      []expression.Expression
	registers registers
	// protocol is the protocol that the packet has here.
	protocol iptables.ProtocolMatch
	// parts are what the rule does, each with the conditions before it. The last one has
	// no target yet.
	parts    []iptables.Rule
	counters iptables.Counters
	// ended says that nothing after this place matters.
	ended bool
}

func (d *decoder) decode() iptables.Rule {
	for len(d.rest) > 0 && !d.ended {
		e := d.rest[0]
		d.rest = d.rest[1:]
		if !d.load(e) && !d.change(e) && !d.condition(e) && !d.statement(e) {
			d.doubt("the expression "+e.Name, false)
		}
	}
	return d.rule()
}

// rule returns the parts as one rule.
func (d *decoder) rule() iptables.Rule {
	parts := d.parts
	if n := len(parts) - 1; n > 0 && isEmpty(parts[n]) {
		parts = parts[:n]
	}
	first := parts[0]
	if len(parts) > 1 {
		// The conditions of the first part are those of the rule.
		parts = slices.Clone(parts)
		parts[0] = iptables.Rule{Target: first.Target}
		first.Target = iptables.Statements(parts)
	}
	first.Counters = d.counters
	return first
}

func isEmpty(r iptables.Rule) bool { return r.String() == "" }

func (d *decoder) part() *iptables.Rule { return &d.parts[len(d.parts)-1] }

func (d *decoder) match(m iptables.Match) {
	p := d.part()
	p.Matches = append(p.Matches, m)
}

// doubt adds a condition that depends on more than the packet.
func (d *decoder) doubt(what string, chance bool) bool {
	d.match(iptables.Doubtful{Doubt: iptables.Doubt{What: what, Chance: chance}})
	return true
}

// do ends a part with its target. What follows is the next part.
func (d *decoder) do(t iptables.Target) bool {
	d.part().Target = t
	d.parts = append(d.parts, iptables.Rule{})
	return true
}

// end is do for a target that nothing follows.
func (d *decoder) end(t iptables.Target) bool {
	d.ended = true
	return d.do(t)
}

// target is do for a target in iptables' words.
func (d *decoder) target(name string, args ...string) bool {
	return d.do(iptables.UnknownTarget{Name: name, Args: args})
}

// passes is do for a statement that changes nothing that rules ask for.
func (d *decoder) passes(words string) bool {
	return d.do(iptables.Statement{Words: words, Does: iptables.Passes})
}

// extension reads a match or target of xtables.
func (d *decoder) extension(e expression.Expression) bool {
	if m, ok := compat.ReadMatch(d.family, e); ok {
		d.match(m)
		return true
	}
	t, ok := compat.ReadTarget(d.family, e)
	return ok && d.do(t)
}
