package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// Auto is the value of --backend that leaves the choice to [Choose].
const Auto = "auto"

// Names returns the values of --backend, in the order in which Auto prefers
// them.
func Names() []string {
	return []string{Auto, string(xtables.NFT), string(xtables.Legacy), string(xtables.Any)}
}

// Choice is the outcome of [Choose].
type Choice struct {
	Backend Backend
	// Candidates are the backends that were considered, in order.
	Candidates []Candidate

	options xtables.Options
}

// Candidate is a backend that was considered.
type Candidate struct {
	Name  string
	Taken bool
	// Reason tells why it was taken or not.
	Reason string
}

// String returns the candidate and what became of it as one line.
func (c Candidate) String() string {
	if c.Taken {
		return c.Name + ": taken: " + c.Reason
	}
	return c.Name + ": not taken: " + c.Reason
}

// ErrUnusable is wrapped by the error of [Choose] where no backend can be used.
var ErrUnusable = errors.New("no usable backend")

// Choose returns the backend of that name, one of [Names]. It reads no rules and
// makes nothing in any table.
//
// Auto takes the nf_tables programs where the kernel can do what they need, else
// the legacy ones, else whatever is called iptables. The choice is returned even
// with an error, for its candidates.
func Choose(ctx context.Context, name string, options xtables.Options) (Choice, error) {
	c := chooser{options: options, nfTables: nfTables}
	return c.choose(ctx, name)
}

// chooser has the kernel's answers replaced in tests.
type chooser struct {
	options  xtables.Options
	nfTables func() error
}

func (c chooser) choose(ctx context.Context, name string) (Choice, error) {
	choice := Choice{options: c.options}
	names := Names()
	if !slices.Contains(names, name) {
		return choice, fmt.Errorf("--backend=%s: must be one of %s", name, strings.Join(names, ", "))
	}
	if name != Auto {
		backend, err := xtables.Find(ctx, xtables.Variant(name), c.options)
		if err != nil {
			choice.Candidates = []Candidate{{name, false, reason(err)}}
			return choice, fmt.Errorf("--backend=%s: %w", name, err)
		}
		choice.take(backend, "asked for")
		return choice, nil
	}
	var hints []string
	for _, variant := range names[1:] {
		if choice.Backend != nil {
			choice.Candidates = append(choice.Candidates, Candidate{variant, false, "not needed"})
			continue
		}
		backend, err := c.try(ctx, xtables.Variant(variant))
		switch {
		case errors.Is(err, fs.ErrPermission):
			// It is the same with every other.
			return choice, fmt.Errorf("failed to choose a backend: %w\n"+
				"hint: run as root with the capabilities NET_ADMIN and NET_RAW", err)
		case ctx.Err() != nil:
			return choice, fmt.Errorf("failed to choose a backend: %w", context.Cause(ctx))
		case err != nil:
			choice.Candidates = append(choice.Candidates, Candidate{variant, false, reason(err)})
			hints = append(hints, variant+": "+reason(err))
		case variant == string(xtables.NFT):
			choice.take(backend, "the kernel has nf_tables and its xtables extensions")
		default:
			choice.take(backend, "the first that can be used")
		}
	}
	if choice.Backend == nil {
		return choice, fmt.Errorf("%w:\n  %s\nhint: install the package iptables", ErrUnusable, strings.Join(hints, "\n  "))
	}
	return choice, nil
}

// try returns the backend of a variant if it can be used.
func (c chooser) try(ctx context.Context, v xtables.Variant) (*xtables.Backend, error) {
	backend, err := xtables.Find(ctx, v, c.options)
	if err == nil && backend.Variant() == xtables.NFT {
		err = c.nfTables()
	}
	return backend, err
}

func (c *Choice) take(b *xtables.Backend, why string) {
	why += " (" + b.String() + ")"
	if err := b.Missing(iptables.IPv6); err != nil {
		why += "; not for IPv6: " + reason(err)
	}
	c.Backend = b
	c.Candidates = append(c.Candidates, Candidate{b.Name(), true, why})
}

// reason returns an error without its hint.
func reason(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\nhint: ")
	return s
}
