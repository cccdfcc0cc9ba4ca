// Package installed describes what is found in a network namespace: the rules in every
// form, ours and those of others, and the chains around them. It is data only; kernel
// reads it.
package installed

import (
	"github.com/meshtables/meshtables/iptables"
)

// Form is a form in which the kernel keeps rules, named after its backend.
type Form string

// The forms, in order of preference.
const (
	NFT    Form = "iptables-nft"    // iptables' form in nf_tables
	Native Form = "nftables"        // nf_tables' own form
	Legacy Form = "iptables-legacy" // the form of the older ip_tables
)

// Other is no form of ours: tables of nf_tables that only nft lists.
const Other Form = "nft"

// Backend is the content of one form.
type Backend struct {
	// Name is its name for --backend: the form's name, unless its programs go by another.
	Name string
	Form Form
	// Rules are all its rules, foreign ones included, with counters.
	Rules iptables.Ruleset
	// Ownership says which of them are ours.
	Ownership iptables.Ownership
	// Sets are the named sets of ours that rules can look up: in the native form those of its
	// table, else ipsets.
	Sets []iptables.AddressSet
	// Faults are about the table that holds our rules. Only the native form has one of
	// its own.
	Faults []Fault
	// Token lets the reader replace the rules without reading them again; nil if it
	// cannot.
	Token any
}

// Own returns the rules that are ours.
func (b *Backend) Own() iptables.Ruleset { return b.Ownership.Of(b.Rules) }

// HasOwn reports whether anything in it is ours, even a table without rules that has a
// fault.
func (b *Backend) HasOwn() bool { return len(b.Own().Tables) > 0 || len(b.Faults) > 0 }

// Has reports whether our rules in it are the wanted ones, without faults. The order of
// tables does not matter.
func (b *Backend) Has(want *iptables.Ruleset) bool {
	own, wanted := b.Ownership.Plain(b.Own()), b.Ownership.Of(*want)
	return len(b.Faults) == 0 && own.Equal(&wanted)
}

// Namespace is the content of a network namespace at one moment.
type Namespace struct {
	// Ownership says what is ours.
	Ownership iptables.Ownership
	// Backends are those with content, in the order of their forms.
	Backends []Backend
	// Records are what was asked for, by the policy's name, if the rules were written in
	// nf_tables over netlink. There is more than one only if somebody made it.
	Records Records
	// Others are the tables of nf_tables in none of the forms. Their names are nft's, such
	// as "inet filter". A table for packets of several families is there once for each.
	Others []iptables.Table
	// Bases are the base chains of nf_tables, those of [NFT] included, if HasBases.
	// Otherwise those of [NFT] are where iptables attaches them.
	Bases    []Base
	HasBases bool
	// Token is the token of nf_tables' forms without content.
	Token any
}

// Backend returns the content of a form, which may be empty.
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
