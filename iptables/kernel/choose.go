package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/gvisor"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// The values of --backend. Auto leaves the choice to [Choose].
const (
	Auto   = "auto"
	NFT    = string(installed.NFT)    // over netlink, as iptables-nft writes
	Native = string(installed.Native) // over netlink, in nf_tables' own form
	Legacy = string(installed.Legacy) // by the programs, to the kernel's older ip_tables
	Any    = "iptables"               // by the programs, whichever variant is on PATH
)

// Names returns the values of --backend, in the order in which Auto prefers
// them.
func Names() []string { return []string{Auto, NFT, Native, Legacy, Any} }

// Choice is the result of [Choose].
type Choice struct {
	Backend Backend
	// Rules are the wanted rules, in the backend's form.
	Rules iptables.Ruleset
	// Records are what was asked for, stored with the rules if the backend is over netlink.
	Records installed.Records
	// Sets returns what named sets that the rules look up are to hold, given what they hold.
	// nil stands for rules that look up none.
	Sets func(have []iptables.AddressSet) []iptables.AddressSet
	// Sysctls are settings of the namespace that go with the rules.
	Sysctls []iptables.Sysctl
	// Check returns an error if what is installed must not be replaced; nil if anything may.
	Check func(*Installed) error
	// Doubled is the plan's.
	Doubled func(iptables.Ruleset) iptables.Ruleset
	// Candidates are the backends considered, in order.
	Candidates []Candidate

	// held is what named sets are to hold.
	held []iptables.AddressSet
}

// beside returns rules of ours so that they can stand beside another set of ours.
func (c *Choice) beside(rules iptables.Ruleset) iptables.Ruleset {
	if c.Doubled == nil {
		return rules
	}
	return c.Doubled(rules)
}

// Candidate is a backend that [Choose] considered.
type Candidate struct {
	Name  string
	Taken bool
	// Reason says why it was taken or not.
	Reason string
}

// String returns the candidate, taken or not, and the reason as one line.
func (c Candidate) String() string {
	if c.Taken {
		return c.Name + ": taken: " + c.Reason
	}
	return c.Name + ": not taken: " + c.Reason
}

// ErrUnusable is wrapped by the error of [Choose] if no backend can be used.
var ErrUnusable = errors.New("no usable backend")

// Choose returns the backend of that name, one of [Names], for the wanted rules. It reads
// no rules and creates nothing.
//
// Auto takes nf_tables over netlink if the kernel has it and lets us use the xtables
// extensions that the rules need: every iptables can then list the rules. If only the
// extensions are missing, it takes the native form, which needs none. If the kernel has
// no nf_tables, it takes the legacy programs. The choice is returned even with an error,
// for its candidates.
func Choose(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, name string, want iptables.Plan) (Choice, error) {
	netlink, native := nftables.New(ns, own), nftables.NewNative(ns, own)
	compatible := sync.OnceValue(func() iptables.Ruleset { return netlink.Form(want) })
	c := chooser{
		namespace: ns, own: own,
		exists:    func() error { return netlink.Exists(ctx) },
		available: func() error { return netlink.Available(ctx, compatible()) },
		native:    func() error { return native.Available(ctx, native.Form(want)) },
		sandboxed: gvisor.Here(),
	}
	choice, err := c.choose(ctx, name)
	if err != nil {
		return choice, err
	}
	choice.Doubled = want.Doubled
	if choice.Backend.Name() == NFT {
		choice.Rules = compatible()
	} else {
		choice.Rules = choice.Backend.Form(want)
	}
	return choice, nil
}

// chooser lets tests replace the kernel's answers.
type chooser struct {
	namespace *namespace.Namespace
	own       iptables.Ownership
	exists    func() error
	// available and native are for the two forms of nf_tables.
	available, native func() error
	// sandboxed says that this is gVisor.
	sandboxed bool
}

func (c chooser) choose(ctx context.Context, name string) (Choice, error) {
	var choice Choice
	names := Names()
	if !slices.Contains(names, name) {
		return choice, fmt.Errorf("--backend=%s: must be one of %s", name, strings.Join(names, ", "))
	}
	if name != Auto {
		backend, about, err := c.find(ctx, name)
		if err != nil {
			choice.Candidates = []Candidate{{name, false, reason(err)}}
			return choice, fmt.Errorf("--backend=%s: %w", name, err)
		}
		choice.take(backend, "asked for"+about)
		return choice, nil
	}
	return c.first(ctx, choice, names[1:])
}

// first takes the first backend that can be used.
func (c chooser) first(ctx context.Context, choice Choice, names []string) (Choice, error) {
	var failures []string
	for _, name := range names {
		if choice.Backend != nil {
			choice.Candidates = append(choice.Candidates, Candidate{name, false, "not needed"})
			continue
		}
		backend, about, err := c.try(ctx, name)
		switch {
		case errors.Is(err, fs.ErrPermission):
			// Every other backend would fail too.
			return choice, fmt.Errorf("failed to choose a backend: %w", err)
		case ctx.Err() != nil:
			return choice, fmt.Errorf("failed to choose a backend: %w", context.Cause(ctx))
		case err != nil:
			choice.Candidates = append(choice.Candidates, Candidate{name, false, reason(err)})
			failures = append(failures, name+": "+reason(err))
		case name == NFT:
			choice.take(backend, "the kernel has nf_tables and the xtables extensions for it")
		case name == Native:
			choice.take(backend, "the kernel has nf_tables, and this form needs no xtables extensions")
		default:
			choice.take(backend, "the first usable one"+about)
		}
	}
	if choice.Backend == nil {
		return choice, fmt.Errorf("%w:\n  %s\nhint: %s", ErrUnusable, strings.Join(failures, "\n  "), c.hint())
	}
	return choice, nil
}

// hint says what helps if there is no backend.
func (c chooser) hint() string {
	if c.sandboxed {
		return hintGVisor
	}
	return "load the modules nf_tables, nft_chain_nat and nft_redir, or, if the kernel has ip_tables instead, install the package iptables"
}

// hintGVisor says what helps in gVisor.
const hintGVisor = "this is gVisor, which has no nf_tables: use the image with the iptables programs, as deploy/legacy does, and --backend=iptables-legacy"

// find returns the backend of a name, and notes about it in parentheses.
func (c chooser) find(ctx context.Context, name string) (backend Backend, about string, err error) {
	if c.sandboxed && (name == NFT || name == Native) {
		if err := c.exists(); err != nil {
			return nil, "", fmt.Errorf("%w\nhint: %s", err, hintGVisor)
		}
	}
	switch name {
	case NFT:
		return nftables.New(c.namespace, c.own), "", nil
	case Native:
		return nftables.NewNative(c.namespace, c.own), "", nil
	}
	programs, err := xtables.Find(ctx, c.namespace, c.own, xtables.Variant(name), xtables.Options{})
	if err != nil {
		return nil, "", err
	}
	about = " (" + programs.String() + ")"
	if err := programs.Missing(iptables.IPv6); err != nil {
		about += "; not for IPv6: " + reason(err)
	}
	return programs, about, nil
}

// try returns the backend of a name if it can be used here. Programs are for kernels
// without nf_tables: those that write to nf_tables lack what netlink lacks, and with the
// others both could have live rules.
func (c chooser) try(ctx context.Context, name string) (Backend, string, error) {
	var err error
	switch name {
	case NFT:
		err = c.available()
	case Native:
		err = c.native()
	default:
		if c.exists() == nil {
			err = errors.New("the kernel has nf_tables")
		}
	}
	if err != nil {
		return nil, "", err
	}
	backend, about, err := c.find(ctx, name)
	if programs, ok := backend.(*xtables.Backend); ok && programs.Variant() == xtables.NFT {
		return nil, "", errors.New("it writes to nf_tables, which the kernel does not have")
	}
	return backend, about, err
}

func (c *Choice) take(b Backend, why string) {
	c.Backend = b
	c.Candidates = append(c.Candidates, Candidate{b.Name(), true, why})
}

// reason returns an error without its hint.
func reason(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return s
}
