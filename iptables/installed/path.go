package installed

import (
	"cmp"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Path is what packets pass: the rules in question, and everything around them.
type Path struct {
	// Rules are all rules of a form, foreign ones included.
	Rules iptables.Ruleset
	Form  Form
	// Ownership says what is ours.
	Ownership iptables.Ownership
	// Faults are those of the rules' backend.
	Faults []Fault

	// around is the namespace that the rules are in; nil if there is nothing around them.
	around *Namespace
	// known is what has been found out about Rules.
	known *knowledge
}

// knowledge is what walks ask about certain rules again and again.
type knowledge struct {
	rules *iptables.Table // the first
	// met is what Met has returned.
	met map[metAt][]Met
	// chains are those of a table by name: there can be thousands.
	chains map[*iptables.Table]map[string]*iptables.Chain
	// onlyOwn is what OnlyOwn has returned.
	onlyOwn *Path
}

type metAt struct {
	family iptables.Family
	hook   string
}

// Alone returns the path through rules with nothing around them, such as wanted ones.
func Alone(rules iptables.Ruleset, own iptables.Ownership) *Path {
	return &Path{Rules: rules, Form: NFT, Ownership: own}
}

// Path returns the path through the rules of a form.
func (n *Namespace) Path(f Form) Path {
	b := n.Backend(f)
	return Path{Rules: b.Rules, Form: f, Ownership: n.Ownership, Faults: b.Faults, around: n}
}

// Own returns the rules that are ours.
func (p *Path) Own() iptables.Ruleset { return p.Ownership.Of(p.Rules) }

// OnlyOwn returns the path through our rules, with nothing else around. It remembers the
// answer as Met does.
func (p *Path) OnlyOwn() *Path {
	known := p.remembered()
	if known.onlyOwn == nil {
		known.onlyOwn = &Path{Rules: p.Own(), Form: p.Form, Ownership: p.Ownership, Faults: p.Faults}
	}
	return known.onlyOwn
}

// Owns reports whether a rule of a chain is ours. own says that the chain is one of the form in
// question. If nothing says what is ours, everything is.
func (p *Path) Owns(own bool, chain string, r iptables.Rule) bool {
	return len(p.Ownership.Chains) == 0 || own && p.Ownership.OwnsRule(chain, r)
}

// Disabled reports whether a fault keeps every packet from the rules.
func (p *Path) Disabled() bool {
	_, disabled := Disabling(p.Faults)
	return disabled
}

// Titled is a table on the path.
type Titled struct {
	*iptables.Table
	// Form is the form that it is in.
	Form Form
	// Title is a name that no other table on the path has: the table's own name in the
	// form in question, and otherwise as its program names it, such as "ip nat", "legacy
	// nat" or "inet filter".
	Title string
	// Own says that the table is in the form in question. Our rules are only there.
	Own bool
}

// Met is a base chain that packets meet.
type Met struct {
	Titled
	// Chain is the chain in the table.
	Chain *iptables.Chain
	// Doubtful says that a chain of ours has the same place. The kernel asks first the one
	// that was made last. Only the order of their tables can be read, if both are in nf_tables;
	// otherwise this one is the first.
	Doubtful bool
	Attachment
}

// Met returns the base chains that packets of a family pass at a hook, in the kernel's
// order. It leaves out those of the form in question if they are disabled. Walks ask again and
// again, so it remembers the answer as long as Rules has the same tables.
func (p *Path) Met(f iptables.Family, hook string) []Met {
	known, at := p.remembered(), metAt{f, hook}
	all, ok := known.met[at]
	if !ok {
		all = p.findMet(f, hook)
		known.met[at] = all
	}
	return all
}

func (p *Path) remembered() *knowledge {
	var first *iptables.Table
	if len(p.Rules.Tables) > 0 {
		first = &p.Rules.Tables[0]
	}
	if p.known == nil || p.known.rules != first {
		p.known = &knowledge{rules: first, met: make(map[metAt][]Met), chains: make(map[*iptables.Table]map[string]*iptables.Chain)}
	}
	return p.known
}

// ChainOf returns a chain of a table that packets meet, or nil.
func (p *Path) ChainOf(t *iptables.Table, name string) *iptables.Chain {
	known := p.remembered()
	chains, ok := known.chains[t]
	if !ok {
		chains = make(map[string]*iptables.Chain, len(t.Chains))
		for i := range t.Chains {
			chains[t.Chains[i].Name] = &t.Chains[i]
		}
		known.chains[t] = chains
	}
	return chains[name]
}

func (p *Path) findMet(f iptables.Family, hook string) []Met {
	var all []Met
	for _, t := range p.Tables(f) {
		all = append(all, p.bases(t, hook)...)
	}
	slices.SortStableFunc(all, func(a, b Met) int {
		return cmp.Or(a.compare(b.Attachment), a.tieWith(b))
	})
	for i := range all {
		all[i].Doubtful = !all[i].Own && slices.ContainsFunc(all, func(m Met) bool {
			return m.Own && m.compare(all[i].Attachment) == 0
		})
	}
	return all
}

// tieWith orders chains with the same place: the one that was made later comes first. If
// nobody knows, that may be one of others.
func (m Met) tieWith(other Met) int {
	switch {
	case m.Own == other.Own:
		return 0
	case m.Made != 0 && other.Made != 0:
		return cmp.Compare(other.Made, m.Made)
	case m.Own:
		return 1
	}
	return -1
}

// Tables returns the tables of a family that packets can meet, in every form.
func (p *Path) Tables(f iptables.Family) []Titled {
	var all []Titled
	add := func(form Form, tables []iptables.Table) {
		for i := range tables {
			if t := &tables[i]; t.Family == f {
				all = append(all, Titled{t, form, p.title(form, t), form == p.Form})
			}
		}
	}
	if !p.Disabled() {
		add(p.Form, p.Rules.Tables)
	}
	if p.around == nil {
		return all
	}
	for i := range p.around.Backends {
		b := &p.around.Backends[i]
		if _, disabled := Disabling(b.Faults); b.Form != p.Form && !disabled {
			add(b.Form, b.Rules.Tables)
		}
	}
	add(Other, p.around.Others)
	return all
}

// bases returns the base chains of a table at a hook.
func (p *Path) bases(t Titled, hook string) []Met {
	var all []Met
	for i := range t.Chains {
		c := &t.Chains[i]
		at, ok := p.attachment(t, c.Name)
		if !ok || at.Hook != hook {
			continue
		}
		all = append(all, Met{Titled: t, Chain: c, Attachment: at})
	}
	return all
}

// attachment returns where a chain is attached. Only nf_tables lets chains be anywhere.
func (p *Path) attachment(t Titled, chain string) (a Attachment, ok bool) {
	if p.around == nil || !p.around.HasBases || t.Form == Native || t.Form == Legacy {
		return AttachmentOf(t.Form, t.Name, chain)
	}
	for _, b := range p.around.Bases {
		if b.Form == t.Form && b.Family == t.Family && b.Table == t.Name && b.Chain == chain {
			return b.Attachment, true
		}
	}
	return a, false
}

func (p *Path) title(f Form, t *iptables.Table) string {
	switch {
	case f == p.Form, f == Other:
		return t.Name
	case f == Legacy:
		return "legacy " + t.Name
	case f == Native:
		return "inet meshtables " + t.Name
	case t.Family == iptables.IPv6:
		return "ip6 " + t.Name
	}
	return "ip " + t.Name
}
