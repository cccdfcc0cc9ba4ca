package iptables

import (
	"errors"
	"fmt"
)

// Limits of the kernel.
const (
	// maxChainName is the length of a chain's name: XT_EXTENSION_MAXNAMELEN
	// (linux/netfilter/x_tables.h) less its NUL.
	maxChainName = 28
	// MaxInterfaceName is the length of an interface's name in bytes: IFNAMSIZ
	// (linux/if.h) less its NUL.
	MaxInterfaceName = 15
	// MaxMultiport is how many ports a [Multiport] takes; a range counts as two:
	// XT_MULTI_PORTS (linux/netfilter/xt_multiport.h).
	MaxMultiport = 15
)

// Validate returns everything that the kernel would refuse or, worse, take and never
// match: jumps to missing chains or in circles, addresses of the other family, targets in
// tables that do not have them. A nil error does not promise that the kernel has every
// module.
func (rs *Ruleset) Validate() error {
	var errs []error
	for i := range rs.Tables {
		t := &rs.Tables[i]
		for _, c := range t.Chains {
			if len(c.Name) > maxChainName {
				errs = append(errs, t.error(&c, fmt.Errorf("the name is longer than %d bytes", maxChainName)))
			}
			for n, r := range c.Rules {
				if err := t.validateRule(&r); err != nil {
					errs = append(errs, t.error(&c, fmt.Errorf("rule %d (%s): %w", n+1, r, err)))
				}
			}
		}
		if chain := t.findLoop(); chain != "" {
			errs = append(errs, t.error(t.Chain(chain), errors.New("the chain jumps back to itself")))
		}
	}
	return errors.Join(errs...)
}

func (t *Table) error(c *Chain, err error) error {
	return fmt.Errorf("%s table %s, chain %s: %w", t.Family, t.Name, c.Name, err)
}

// validatedMatch is a match that not every rule can have.
type validatedMatch interface {
	validate(*Rule) error
}

func (t *Table) validateRule(r *Rule) error {
	for _, a := range []Address{r.Source, r.Destination} {
		if a != (Address{}) && FamilyOf(a.Prefix.Addr()) != t.Family {
			return fmt.Errorf("%s is not an %s address", a.Prefix, t.Family)
		}
	}
	for _, i := range []Interface{r.In, r.Out} {
		if len(i.Name) > MaxInterfaceName {
			return fmt.Errorf("the interface name %q is longer than %d bytes", i.Name, MaxInterfaceName)
		}
	}
	for _, m := range r.Matches {
		if m, ok := m.(validatedMatch); ok {
			if err := m.validate(r); err != nil {
				return err
			}
		}
	}
	return t.validateTarget(r)
}

// isOfPorts reports whether the rule matches a protocol whose packets have ports, which
// the matches on them need.
func (r *Rule) isOfPorts() bool {
	return !r.Protocol.Not && (r.Protocol.Protocol == TCP || r.Protocol.Protocol == UDP)
}

func (t *Table) validateTarget(r *Rule) error {
	if to, ok := r.JumpsTo(); ok && t.Chain(to) == nil {
		return fmt.Errorf("there is no chain %s", to)
	}
	table := t.Name
	switch r.Target.(type) {
	case Redirect:
		table = Nat
	case TProxy:
		table = Mangle
	case CTZone:
		table = Raw
	}
	if table != t.Name {
		return fmt.Errorf("the target exists in table %s only", table)
	}
	return nil
}

// findLoop returns a chain from which jumps lead back to it, or "".
func (t *Table) findLoop() string {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var visit func(name string) string
	visit = func(name string) string {
		chain := t.Chain(name)
		if chain == nil || state[name] == done {
			return ""
		}
		if state[name] == visiting {
			return name
		}
		state[name] = visiting
		for _, r := range chain.Rules {
			if to, ok := r.JumpsTo(); ok {
				if loop := visit(to); loop != "" {
					return loop
				}
			}
		}
		state[name] = done
		return ""
	}
	for _, c := range t.Chains {
		if loop := visit(c.Name); loop != "" {
			return loop
		}
	}
	return ""
}
