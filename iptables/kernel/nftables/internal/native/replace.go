package native

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Changes appends what makes the table hold want. What is foreign in it goes.
//
// Chains stay where they are if they can, so that packets meet the old rules or
// the new ones: of two chains at one hook, a packet might meet neither.
func (t *Table) Changes(b *tables.Changes, want iptables.Ruleset) error {
	chains, err := wantedChains(writable(want))
	if err != nil {
		return err
	}
	have := t
	if have.found && (len(chains) == 0 || !have.isSound()) {
		b.DeleteTable(tableKey)
		have = &Table{}
	}
	if len(chains) == 0 {
		return nil
	}
	if !have.found {
		b.NewTable(tableKey)
	}
	p := planner{b: b, key: tableKey, have: have, want: chains}
	p.removeRules()
	p.removeChains()
	p.addChains()
	p.addRules()
	return b.Err()
}

// planner appends the changes of the table. Their order follows from what the
// kernel checks at each: rules go first, then chains; then chains come, then rules.
type planner struct {
	b    *tables.Changes
	key  tables.Key
	have *Table
	want []wantedChain
	keep []string // chains of which nothing changes
	sets uint32   // that the batch has made
}

func (p *planner) wanted(name string) *wantedChain {
	for i := range p.want {
		if p.want[i].name == name {
			return &p.want[i]
		}
	}
	return nil
}

func (p *planner) removeRules() {
	for _, c := range p.have.chains {
		w := p.wanted(c.Name)
		switch {
		case w != nil && slices.EqualFunc(c.rules, w.rules, equal):
			p.keep = append(p.keep, c.Name)
		case len(c.rules) > 0:
			p.b.DeleteRules(p.key, c.Name)
		}
	}
}

// equal ignores origins, as [iptables.Ruleset.Equal] does; see commentOf.
func equal(a, b rule) bool {
	return a.family == b.family && a.uncounted == b.uncounted && a.text() == b.text()
}

func (p *planner) removeChains() {
	for _, c := range p.have.chains {
		if p.wanted(c.Name) == nil {
			p.b.DeleteChain(p.key, c.Name)
		}
	}
}

func (p *planner) addChains() {
	for _, w := range p.want {
		switch {
		case p.have.chain(w.name) != nil:
		case w.base:
			p.b.NewBaseChain(p.key, w.name, w.attached)
		default:
			p.b.NewChain(p.key, w.name)
		}
	}
}

func (p *planner) addRules() {
	for _, w := range p.want {
		if slices.Contains(p.keep, w.name) {
			continue
		}
		for _, r := range w.rules {
			p.addRule(w.name, r, commentOf(&r.rule))
			if _, ok := r.rule.Target.(iptables.TProxy); ok {
				p.addRule(w.name, tproxyGuard(r), "the proxy does not listen")
			}
		}
	}
}

func (p *planner) addRule(chain string, r rule, comment string) {
	var e expression.Encoder
	encode(&e, r, func(s iptables.Set) uint32 {
		p.sets++
		newSet(p.b, p.key, s, p.sets)
		return p.sets
	})
	p.b.NewRule(p.key, chain, &r.rule, &e, func(b *netlink.Builder) {
		if comment != "" {
			b.PutBytes(unix.NFTA_RULE_USERDATA, commentTLV(comment))
		}
	})
}
