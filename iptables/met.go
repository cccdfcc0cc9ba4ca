package iptables

// MetTable is a table that packets meet on their way.
type MetTable struct {
	*Table
	// Before says that it is one of [Ruleset.Before].
	Before bool
}

// Met returns the tables that packets of a family meet at a hook, in the order in which
// the kernel has them there (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h): raw,
// mangle and nat, each with the one that comes right before it. Other tables have no
// rules of ours.
func (rs *Ruleset) Met(f Family) []MetTable {
	var met []MetTable
	for _, name := range []string{Raw, Mangle, Nat} {
		if t := findTable(rs.Before, f, name); t != nil {
			met = append(met, MetTable{t, true})
		}
		if t := rs.Table(f, name); t != nil {
			met = append(met, MetTable{t, false})
		}
	}
	return met
}

// Title returns what tells the table from the others that are met: its name or, of one
// that comes before, the name by which nft has it, such as "ip nat".
func (t MetTable) Title() string {
	switch {
	case !t.Before:
		return t.Name
	case t.Family == IPv6:
		return "ip6 " + t.Name
	}
	return "ip " + t.Name
}
