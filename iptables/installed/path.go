package installed

import "github.com/meshtables/meshtables/iptables"

// Path is what packets meet: rules that are asked about, and the tables that come
// before them.
type Path struct {
	Rules iptables.Ruleset
	// Before are tables that packets meet before these: each right before the one of
	// the same family and name.
	Before iptables.Ruleset
	// Ownership tells what of both is ours.
	Ownership iptables.Ownership
	// Faults are those of what holds the rules.
	Faults []Fault
}

// Alone returns the path through rules that nothing comes before, as those that are
// wanted.
func Alone(rules iptables.Ruleset, own iptables.Ownership) *Path {
	return &Path{Rules: rules, Ownership: own}
}

// Own returns those of the rules that are ours.
func (p *Path) Own() iptables.Ruleset { return p.Ownership.Of(p.Rules) }

// Disabled reports whether a fault keeps every packet from the rules.
func (p *Path) Disabled() bool {
	_, disabled := Disabling(p.Faults)
	return disabled
}

// Table is a table that packets meet on their way.
type Table struct {
	*iptables.Table
	// Before says that it is one of those that come before.
	Before bool
}

// Met returns the tables that packets of a family meet at a hook, in the order in which
// the kernel has them there (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h): raw,
// mangle and nat, each with the one that comes right before it. Other tables have no
// rules of ours.
func (p *Path) Met(f iptables.Family) []Table {
	var met []Table
	for _, name := range []string{iptables.Raw, iptables.Mangle, iptables.Nat} {
		if t := p.Before.Table(f, name); t != nil {
			met = append(met, Table{t, true})
		}
		if t := p.Rules.Table(f, name); t != nil {
			met = append(met, Table{t, false})
		}
	}
	return met
}

// Title returns what tells the table from the others that are met: its name or, of one
// that comes before, the name by which nft has it, such as "ip nat".
func (t Table) Title() string {
	switch {
	case !t.Before:
		return t.Name
	case t.Family == iptables.IPv6:
		return "ip6 " + t.Name
	}
	return "ip " + t.Name
}
