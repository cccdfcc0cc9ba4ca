// Package installed describes what is found in a network namespace: the rules of every
// form in which the kernel has some, ours and those of others, and what packets meet
// around them. It is what is read, as [iptables.Ruleset] is what is wanted; nothing
// here reads anything.
package installed

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// Form is a form in which the kernel has rules, by the name of the backend that has no
// other.
type Form string

// The forms, in the order in which one is chosen.
const (
	NFT    Form = "iptables-nft"    // that of iptables in nf_tables
	Native Form = "nftables"        // nf_tables' own
	Legacy Form = "iptables-legacy" // that of the older ip_tables
)

// Backend is what one form has.
type Backend struct {
	// Name is what --backend calls it: the form's, unless it is of programs that go
	// by another name.
	Name string
	Form Form
	// Rules are all that it has, foreign ones included, with counters.
	Rules iptables.Ruleset
	// Ownership tells which of them are ours.
	Ownership iptables.Ownership
	// Faults are about what holds our rules, where that is more than tables of
	// iptables: the native form has a table of its own.
	Faults []Fault
	// Token is by what who has read it goes on from there when it is replaced; nil
	// where it has to be read again.
	Token any
}

// Own returns the rules that are ours.
func (b *Backend) Own() iptables.Ruleset { return b.Ownership.Of(b.Rules) }

// HasOwn reports whether anything in it is ours, be it a table without rules that
// something is wrong with.
func (b *Backend) HasOwn() bool { return len(b.Own().Tables) > 0 || len(b.Faults) > 0 }

// Has reports whether what is ours in it is what is wanted, and nothing is wrong with
// it. The order of tables does not matter.
func (b *Backend) Has(want *iptables.Ruleset) bool {
	own, wanted := b.Own(), b.Ownership.Of(*want)
	return len(b.Faults) == 0 && own.Equal(&wanted)
}

// Chain is a base chain of nf_tables at a hook that iptables has too, with rules that
// nobody here reads or a policy that drops.
type Chain struct {
	// Table is the table as nft has it, such as "inet filter".
	Table, Name string
	// Hook is the built-in chain that iptables has at the hook, Priority the place
	// there (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h).
	Hook     string
	Priority int32
	Rules    int
	Policy   iptables.Policy
	// Before are the tables whose built-in chain of the hook packets meet after this
	// one, or might.
	Before []Place
}

// Place is a table of a family in a form.
type Place struct {
	Form   Form
	Family iptables.Family
	Table  string
}

// String returns words such as "chain o of table inet filter (OUTPUT, priority 0, rules:
// 2, policy ACCEPT)".
func (c Chain) String() string {
	return fmt.Sprintf("chain %s of table %s (%s, priority %d, rules: %d, policy %s)", c.Name, c.Table, c.Hook, c.Priority, c.Rules, c.Policy)
}

// Namespace is what a network namespace has, as it was at one moment.
type Namespace struct {
	// Ownership tells what is ours.
	Ownership iptables.Ownership
	// Backends are those that have something, in the order of their forms.
	Backends []Backend
	// Chains are the base chains of nf_tables that are of none of these.
	Chains []Chain
	// Token is that of the forms of nf_tables in which there is nothing.
	Token any
}

// Backend returns what is in a form, which may be nothing.
func (n *Namespace) Backend(f Form) Backend {
	for _, b := range n.Backends {
		if b.Form == f {
			return b
		}
	}
	return Backend{Name: string(f), Form: f, Ownership: n.Ownership, Token: n.Token}
}

// Own returns the backends in which something is ours.
func (n *Namespace) Own() []Backend {
	var own []Backend
	for _, b := range n.Backends {
		if b.HasOwn() {
			own = append(own, b)
		}
	}
	return own
}

// Path returns what packets meet where the rules of a form are asked about. The tables
// of iptables in nf_tables come before those of the native form.
func (n *Namespace) Path(f Form) Path {
	b := n.Backend(f)
	p := Path{Rules: b.Rules, Ownership: n.Ownership, Faults: b.Faults}
	if f == Native {
		p.Before = n.Backend(NFT).Rules
	}
	return p
}
