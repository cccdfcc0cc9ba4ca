package native

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/diff"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Changes appends the changes from the table to want. They remove everything foreign in
// it.
//
// Chains stay where they are if possible, so that packets pass the old rules or the new
// ones: with two chains at one hook, a packet might pass neither.
func (t *Table) Changes(b *tables.Changes, want iptables.Ruleset) error {
	return t.ChangesWith(b, want, t.Sets())
}

// ChangesWith is Changes that leaves the content of named sets too.
func (t *Table) ChangesWith(b *tables.Changes, want iptables.Ruleset, sets []iptables.AddressSet) error {
	chains, err := wantedChains(writable(t.Ownership, want))
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
	p, needed := planner{b: b, key: tableKey}, setsOf(want)
	p.fill(have, needed, sets)
	p.make(have, chains)
	p.drop(have, needed)
	return b.Err()
}

// equal ignores origins, as [iptables.Ruleset.Equal] does; see commentOf.
func equal(a, b rule) bool {
	return a.family == b.family && a.uncounted == b.uncounted && a.text() == b.text()
}

// planner appends the changes of the table. Their order follows from the kernel's checks:
// rules go first, then chains; then chains come, then rules.
type planner struct {
	b    *tables.Changes
	key  tables.Key
	sets uint32 // made by the batch
}

// make appends the changes to the wanted chains.
func (p *planner) make(have *Table, want []wantedChain) {
	changes := diff.Chains(have.listed(), listed(want), equal)
	for _, c := range changes {
		if len(c.Delete) > 0 {
			p.b.DeleteRules(p.key, c.Chain)
		}
	}
	for _, c := range changes {
		if c.Remove {
			p.b.DeleteChain(p.key, c.Chain)
		}
	}
	for _, w := range want {
		if have.chain(w.name) == nil {
			p.addChain(w)
		}
	}
	for _, c := range changes {
		p.addRules(c.Chain, c.Insert)
	}
}

func (t *Table) listed() []diff.Chain[rule] {
	chains := make([]diff.Chain[rule], len(t.chains))
	for i, c := range t.chains {
		chains[i] = diff.Chain[rule]{Name: c.Name, Rules: c.rules}
	}
	return chains
}

func listed(want []wantedChain) []diff.Chain[rule] {
	chains := make([]diff.Chain[rule], len(want))
	for i, c := range want {
		chains[i] = diff.Chain[rule]{Name: c.name, Rules: c.rules}
	}
	return chains
}

func (p *planner) addChain(w wantedChain) {
	if w.base {
		p.b.NewBaseChain(p.key, w.name, w.attached)
		return
	}
	p.b.NewChain(p.key, w.name)
}

func (p *planner) addRules(chain string, rules []rule) {
	for _, r := range rules {
		p.addRule(chain, r, commentOf(&r.rule))
		if _, ok := r.rule.Target.(iptables.TProxy); ok {
			p.addRule(chain, tproxyGuard(r), "the proxy does not listen")
		}
	}
}

func (p *planner) addRule(chain string, r rule, comment string) {
	e := p.b.Encoder()
	encode(e, r, func(s iptables.Set) uint32 {
		p.sets++
		newSet(p.b, p.key, s, p.sets)
		return p.sets
	})
	p.b.NewRule(p.key, chain, &r.rule, e, func(b *netlink.Builder) {
		if comment != "" {
			b.PutBytes(unix.NFTA_RULE_USERDATA, tables.Comment(comment))
		}
	})
}
