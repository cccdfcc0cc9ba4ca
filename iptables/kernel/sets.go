package kernel

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/ipset"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// sets are the ipsets before, and what has to be done to them.
type sets struct {
	namespace *namespace.Namespace
	changes   []ipset.Change
}

// fillSets adds to rules what the sets hold that they look up, so that others can say what
// becomes of a packet. It looks at ipsets only if rules look some up: the kernel may have to
// load a module for that.
func (i *Installed) fillSets(ctx context.Context) {
	if i.looksUpSets() {
		i.readSets(ctx)
	}
	for at := range i.Backends {
		b := &i.Backends[at]
		if b.Form != installed.Native {
			b.Sets = i.ipsets.Sets()
		}
		if len(b.Sets) > 0 {
			b.Rules = filled(b.Rules, b.Sets)
		}
	}
}

// filled returns rules with what sets hold that they look up.
func filled(rs iptables.Ruleset, sets []iptables.AddressSet) iptables.Ruleset {
	return rs.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		return r.MapSets(func(m iptables.NamedSet) iptables.NamedSet {
			if at := slices.IndexFunc(sets, func(s iptables.AddressSet) bool { return s.Name == m.Name }); at >= 0 {
				m.Content = &sets[at]
			}
			return m
		})
	})
}

// hold decides what named sets are to hold.
func (i *Installed) hold(ctx context.Context, choice *Choice) (s sets, err error) {
	s.namespace = i.namespace
	if choice.Sets == nil && !i.looksUpSets() {
		return s, nil
	}
	if i.readSets(ctx); i.ipsetsErr != nil {
		return s, i.ipsetsErr
	}
	var inSets []iptables.AddressSet
	if choice.Sets != nil {
		native := i.Backend(installed.Native)
		choice.held = choice.Sets(union(i.ipsets.Sets(), native.Sets))
		if FormOf(choice.Backend) != installed.Native {
			inSets = choice.held
		}
	}
	s.changes = i.ipsets.Diff(inSets)
	return s, nil
}

// SetsOf returns the named sets that rules of a form look up.
func (i *Installed) SetsOf(ctx context.Context, f installed.Form) ([]iptables.AddressSet, error) {
	if f == installed.Native {
		return i.Backend(f).Sets, nil
	}
	i.readSets(ctx)
	return i.ipsets.Sets(), i.ipsetsErr
}

// readSets reads our ipsets, unless it has done so.
func (i *Installed) readSets(ctx context.Context) {
	if i.ipsets == nil && i.ipsetsErr == nil {
		i.ipsets, i.ipsetsErr = ipset.Read(ctx, i.namespace, i.Ownership.Sets)
	}
}

// looksUpSets reports whether a rule of ours in iptables' form looks up a set.
func (i *Installed) looksUpSets() bool {
	return slices.ContainsFunc(i.Backends, func(b installed.Backend) bool {
		return b.Form != installed.Native && b.Rules.HasRule(func(_ *iptables.Table, c *iptables.Chain, r *iptables.Rule) bool {
			return r.LooksUpSet() && b.Ownership.OwnsRule(c.Name, *r)
		})
	})
}

// union returns sets with the addresses of both lists.
func union(a, b []iptables.AddressSet) []iptables.AddressSet {
	all := slices.Clone(a)
	for _, s := range b {
		at := slices.IndexFunc(all, func(have iptables.AddressSet) bool { return have.Name == s.Name })
		if at < 0 {
			all = append(all, s)
			continue
		}
		merged := slices.Concat(all[at].Addresses, s.Addresses)
		slices.SortFunc(merged, netip.Addr.Compare)
		all[at].Addresses = slices.Compact(merged)
	}
	slices.SortFunc(all, func(a, b iptables.AddressSet) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// before returns the step after which the sets have all that the rules need.
func (s sets) before() []step {
	if !slices.ContainsFunc(s.changes, func(c ipset.Change) bool { return c.Make || len(c.Add) > 0 }) {
		return nil
	}
	return []step{s.step(ipset.Before, ipset.After)}
}

// after returns the step that takes away what the rules do not need any more.
func (s sets) after() []step {
	if !slices.ContainsFunc(s.changes, func(c ipset.Change) bool { return c.Drop || len(c.Del) > 0 }) {
		return nil
	}
	return []step{s.step(ipset.After, ipset.Before)}
}

// step undoes what it has done in part too, if it fails.
func (s sets) step(do, undo func(context.Context, *namespace.Namespace, []ipset.Change) error) step {
	back := func(ctx context.Context) error { return undo(ctx, s.namespace, ipset.Inverse(s.changes)) }
	return step{
		do: func(ctx context.Context) error {
			err := do(ctx, s.namespace, s.changes)
			if err != nil {
				_ = back(context.WithoutCancel(ctx))
			}
			return unchanged(err)
		},
		undo: back,
	}
}

// holds reports whether the native form's sets are as they are to be.
func (c *Choice) holds(b *installed.Backend) bool {
	if b.Form != installed.Native || c.Sets == nil {
		return true
	}
	return slices.EqualFunc(union(b.Sets, nil), union(c.held, nil), func(a, b iptables.AddressSet) bool {
		return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
	})
}
