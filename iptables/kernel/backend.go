// Package kernel is the seam between rulesets and the kernel that holds them.
package kernel

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Backend is one way to reach the rules of the network namespace that the
// calling thread is in.
type Backend interface {
	// Name is what --backend calls it, such as "iptables-legacy".
	Name() string

	// Form returns a plan in the words in which the backend writes it, which
	// do the same to every packet: long lists of ports grouped, or all lists
	// as sets. It is what Replace takes and Load returns.
	Form(plan iptables.Plan) iptables.Ruleset

	// Load returns every table that exists, of both families, foreign rules
	// included. It changes nothing: no table, chain or module comes to life
	// by it.
	Load(ctx context.Context) (installed.Backend, error)

	// Replace makes what is ours of have, which Load returned, into want,
	// which holds nothing that is not ours. Foreign rules and chains stay as
	// and where they are. An error means that the kernel holds what it held
	// before, or says that it does not.
	Replace(ctx context.Context, have, want iptables.Ruleset) error
}
