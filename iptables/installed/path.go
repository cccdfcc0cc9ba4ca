package installed

import "github.com/meshtables/meshtables/iptables"

// Path is what packets pass: the rules in question, and the tables before them.
type Path struct {
	Rules iptables.Ruleset
	// Before are the tables before them, each right before the table of the same family
	// and name.
	Before iptables.Ruleset
	// Ownership says what is ours in both.
	Ownership iptables.Ownership
	// Faults are those of the rules' backend.
	Faults []Fault
}

// Alone returns the path through rules with nothing before them, such as wanted ones.
func Alone(rules iptables.Ruleset, own iptables.Ownership) *Path {
	return &Path{Rules: rules, Ownership: own}
}

// Own returns the rules that are ours.
func (p *Path) Own() iptables.Ruleset { return p.Ownership.Of(p.Rules) }

// Disabled reports whether a fault keeps every packet from the rules.
func (p *Path) Disabled() bool {
	_, disabled := Disabling(p.Faults)
	return disabled
}

// Table is a table that packets pass.
type Table struct {
	*iptables.Table
	// Before says that it is one of [Path.Before].
	Before bool
}

// Met returns the tables that packets of a family pass at a hook, in the kernel's order
// (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h): raw, mangle and nat, each after
// its table in Before. Other tables have no rules of ours.
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

// Title returns a name that no other table on the path has: the table's name or, for one
// of Before, nft's name, such as "ip nat".
func (t Table) Title() string {
	switch {
	case !t.Before:
		return t.Name
	case t.Family == iptables.IPv6:
		return "ip6 " + t.Name
	}
	return "ip " + t.Name
}
