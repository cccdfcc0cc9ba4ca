package compat

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/diff"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Changes appends the changes from what is ours in the tables to want. Tables do not
// depend on each other, so each is changed by itself.
func (s *Tables) Changes(b *tables.Changes, want iptables.Ruleset) error {
	for _, t := range s.list {
		p := planner{b: b, own: s.Ownership, have: t, want: want.Table(t.Family, t.Name)}
		if err := p.table(); err != nil {
			return err
		}
	}
	for i := range want.Tables {
		w := &want.Tables[i]
		key := tables.Key{Family: w.Family, Name: w.Name}
		p := planner{b: b, own: s.Ownership, have: &installedTable{Table: tables.Table{Key: key}}, want: w}
		if s.table(key) != nil || !p.isNeeded() {
			continue
		}
		b.NewTable(key)
		if err := p.table(); err != nil {
			return err
		}
	}
	return b.Err()
}

// planner appends the changes of one table.
//
// Their order follows from the kernel's checks: a chain cannot go while rules refer to
// it, and rules cannot refer to a missing chain. So rules go first, then chains; then
// chains come, then rules.
type planner struct {
	b    *tables.Changes
	own  iptables.Ownership
	have *installedTable
	want *iptables.Table // nil if nothing is wanted
	// remake says that everything of ours has to be made again.
	remake  bool
	changes []diff.Change[installedRule, iptables.Rule]
}

func (p *planner) table() error {
	if p.isNeeded() {
		if err := p.usable(); err != nil {
			return err
		}
	}
	p.remake = slices.ContainsFunc(p.have.chains, p.isMadeWrong)
	p.changes = diff.Chains(p.installedChains(), p.wantedChains(), p.equal)
	p.removeRules()
	if p.removeTable() {
		return nil
	}
	p.removeChains()
	if p.want == nil {
		return nil
	}
	if err := p.addChains(); err != nil {
		return err
	}
	p.addRules()
	return nil
}

// isNeeded reports whether anything but empty built-in chains is wanted.
func (p *planner) isNeeded() bool {
	return p.want != nil && slices.ContainsFunc(p.want.Chains, func(c iptables.Chain) bool {
		return p.own.Owns(c.Name) || len(c.Rules) > 0
	})
}

// usable refuses tables in which rules would not work. A chain that iptables does not
// have is somebody else's, and its jumps to ours stay as loaded.
func (p *planner) usable() error {
	name := p.have.Key
	switch {
	case p.have.Flags&unix.NFT_TABLE_F_DORMANT != 0:
		return fmt.Errorf("table %s is dormant: no packet would reach its rules", name)
	case p.have.Flags&tables.FlagOwner != 0:
		return fmt.Errorf("table %s belongs to another running program", name)
	}
	for _, w := range p.want.Chains {
		if len(w.Rules) == 0 || p.own.Owns(w.Name) {
			continue
		}
		a, isBuiltin := tables.AttachmentOf(installed.NFT, p.have.Name, w.Name)
		if c := p.have.chain(w.Name); c != nil && isBuiltin && (!c.Base || c.Attached != a) {
			return fmt.Errorf("chain %s of table %s is not from iptables: it is not of type %s at hook %d with priority %d",
				w.Name, name, a.Kind, a.Hook, a.Priority)
		}
	}
	return nil
}

// isMadeWrong reports whether a chain with our name is itself attached to a hook. It has
// to be made again.
func (p *planner) isMadeWrong(c *installedChain) bool { return p.own.Owns(c.Name) && c.Base }

// wanted returns the chain that should be there, or nil.
func (p *planner) wanted(name string) *iptables.Chain {
	if p.want == nil {
		return nil
	}
	return p.want.Chain(name)
}

// installedRule is a rule and the kernel's name for it.
type installedRule struct {
	handle uint64
	rule   *iptables.Rule
}

// installedChains returns what is ours in every installed chain.
func (p *planner) installedChains() []diff.Chain[installedRule] {
	var chains []diff.Chain[installedRule]
	for _, c := range p.have.chains {
		all := p.own.Owns(c.Name)
		var rules []installedRule
		for i := range c.rules {
			if r := &c.rules[i]; all || p.own.OwnsJump(*r) {
				rules = append(rules, installedRule{c.handles[i], r})
			}
		}
		chains = append(chains, diff.Chain[installedRule]{Name: c.Name, Rules: rules})
	}
	return chains
}

func (p *planner) wantedChains() []diff.Chain[iptables.Rule] {
	if p.want == nil {
		return nil
	}
	var chains []diff.Chain[iptables.Rule]
	for _, c := range p.want.Chains {
		chains = append(chains, diff.Chain[iptables.Rule]{Name: c.Name, Rules: c.Rules})
	}
	return chains
}

func (p *planner) equal(have installedRule, want iptables.Rule) bool {
	return !p.remake && p.own.IsAsWanted(*have.rule, want)
}

// removeRules deletes our rules from every chain that is not as wanted.
func (p *planner) removeRules() {
	for _, c := range p.changes {
		if p.own.Owns(c.Chain) {
			if len(c.Delete) > 0 {
				p.b.DeleteRules(p.have.Key, c.Chain)
			}
			continue
		}
		for i := range c.Delete {
			p.b.DeleteRule(p.have.Key, c.Chain, c.Delete[i].rule, c.Delete[i].handle)
		}
	}
}

func (p *planner) isForeign(r iptables.Rule) bool { return !p.own.OwnsJump(r) }

// removeTable deletes a table that we made, unless something foreign is in it.
func (p *planner) removeTable() bool {
	t := p.have
	// The table's use counts sets and other objects too.
	if !t.Ours || p.isNeeded() || t.Use != len(t.chains) {
		return false
	}
	if slices.ContainsFunc(t.chains, p.holdsForeign) {
		return false
	}
	p.b.DeleteTable(t.Key)
	return true
}

// holdsForeign reports whether a chain is neither ours nor a built-in chain that does
// nothing without us.
func (p *planner) holdsForeign(c *installedChain) bool {
	return !p.own.Owns(c.Name) &&
		(!iptables.IsBuiltin(p.have.Name, c.Name) || c.Policy != "ACCEPT" || slices.ContainsFunc(c.rules, p.isForeign))
}

// removeChains deletes our chains that are not wanted, and built-in chains that we made
// and that are empty now.
func (p *planner) removeChains() {
	for _, c := range p.have.chains {
		w := p.wanted(c.Name)
		obsolete := p.own.Owns(c.Name) && (w == nil || p.remake)
		useless := c.Ours && c.Base && (w == nil || len(w.Rules) == 0) && !p.holdsForeign(c)
		if obsolete || useless {
			p.b.DeleteChain(p.have.Key, c.Name)
		}
	}
}

func (p *planner) addChains() error {
	for _, w := range p.want.Chains {
		c := p.have.chain(w.Name)
		switch {
		case p.own.Owns(w.Name):
			if c == nil || p.remake {
				p.b.NewChain(p.have.Key, w.Name)
			}
		case c == nil && len(w.Rules) > 0:
			a, ok := tables.AttachmentOf(installed.NFT, p.have.Name, w.Name)
			if !ok {
				return fmt.Errorf("table %s has no built-in chain %s", p.have.Key, w.Name)
			}
			p.b.NewBaseChain(p.have.Key, w.Name, a)
		}
	}
	return nil
}

func (p *planner) addRules() {
	for _, c := range p.changes {
		for i := range c.Insert {
			addRule(p.b, p.have.Key, c.Chain, &c.Insert[i])
		}
	}
}
