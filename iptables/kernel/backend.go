// Package kernel is the seam between rulesets and the kernel: it reads the rules of a
// network namespace, chooses a backend, and replaces what is ours.
package kernel

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// Backend is one way to read and write the rules of a network namespace.
type Backend interface {
	// Name is its name for --backend, such as "iptables-legacy".
	Name() string

	// Ownership says which of the rules are ours.
	Ownership() iptables.Ownership

	// Form returns a plan in the form that the backend writes: long lists of ports
	// grouped, or all lists as sets. Every packet is handled the same. Replace takes this
	// form and Load returns it.
	Form(plan iptables.Plan) iptables.Ruleset

	// Load returns every table that exists, of both families, foreign rules included. It
	// changes nothing: it creates no table or chain and loads no module.
	Load(ctx context.Context) (installed.Backend, error)

	// Replace replaces what is ours in have, which was read, by want, which has only what
	// is ours. Foreign rules and chains stay where they are. After an error the kernel
	// has the old rules, unless the error says otherwise.
	Replace(ctx context.Context, have installed.Backend, want iptables.Ruleset) error
}

// FormOf returns the form of a backend's rules.
func FormOf(b Backend) installed.Form {
	if programs, ok := b.(*xtables.Backend); ok {
		return installed.Form(programs.Variant())
	}
	return installed.Form(b.Name())
}

// InForm returns a plan in a form; see [Backend].
func InForm(f installed.Form, plan iptables.Plan) iptables.Ruleset {
	if f == installed.Native {
		return form.Native(plan)
	}
	return form.IPTables(plan)
}
