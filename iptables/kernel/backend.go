// Package kernel is the seam between rulesets and the kernel that holds them: it reads
// what a network namespace has, chooses a backend, and replaces what is ours.
package kernel

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// Backend is one way to reach the rules of a network namespace.
type Backend interface {
	// Name is what --backend calls it, such as "iptables-legacy".
	Name() string

	// Ownership tells which of the rules are ours.
	Ownership() iptables.Ownership

	// Form returns a plan in the words in which the backend writes it, which
	// do the same to every packet: long lists of ports grouped, or all lists
	// as sets. It is what Replace takes and Load returns.
	Form(plan iptables.Plan) iptables.Ruleset

	// Load returns every table that exists, of both families, foreign rules
	// included. It changes nothing: no table, chain or module comes to life
	// by it.
	Load(ctx context.Context) (installed.Backend, error)

	// Replace makes what is ours of have, which was read, into want,
	// which holds nothing that is not ours. Foreign rules and chains stay as
	// and where they are. An error means that the kernel holds what it held
	// before, or says that it does not.
	Replace(ctx context.Context, have installed.Backend, want iptables.Ruleset) error
}

// FormOf returns the form in which a backend has rules.
func FormOf(b Backend) installed.Form {
	if programs, ok := b.(*xtables.Backend); ok {
		return installed.Form(programs.Variant())
	}
	return installed.Form(b.Name())
}

// InForm returns a plan in the words of a form; see [Backend].
func InForm(f installed.Form, plan iptables.Plan) iptables.Ruleset {
	if f == installed.Native {
		return form.Native(plan)
	}
	return form.IPTables(plan)
}
