package capture

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Recognise reads options back from rules, with what a policy knows: shape returns the options
// that rules without comments look like, and told those that rules were stored with, with the
// options whose values are not valid; listed is for [OriginsOf]. What is stored counts, unless
// only what the rules look like makes the same rules: a group of ports is stored with its ports
// joined, and its rules show that there were enough for groups.
//
// form returns a plan as it reads back from the kernel, in the form of the rules.
func Recognise[C Wanted](own iptables.Ownership, rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset,
	shape func(*iptables.Ruleset) C, listed ListedField, told func(C, Origins) (C, []string),
) Recognised {
	plain := own.ReadComments(rs)
	cfg, commented := shape(&plain), IsCommented(own, rs)
	byShape := Recognised{Wanted: cfg, Commented: commented}
	origins := OriginsOf(own.Of(plain), listed)
	if len(origins) == 0 {
		byShape.Compare(own, plain, form)
		return byShape
	}
	found := Recognised{Commented: commented}
	found.Wanted, found.Refused = told(cfg, origins)
	if found.Compare(own, plain, form); found.Complete {
		return found
	}
	if byShape.Compare(own, plain, form); byShape.Complete {
		return byShape
	}
	return found
}

// Compare compares rules with the ones that the options found would make: it fills in Rules
// and Complete. form returns a plan as it reads back from the kernel, in the form of the
// rules.
func (found *Recognised) Compare(ownership iptables.Ownership, rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) {
	planned := form(found.Wanted.Plan(found.Host).Rules)
	own, plannedOwn := ownership.Of(rs), ownership.Of(planned)
	found.Complete = len(found.Refused) == 0 && own.Equal(&plannedOwn)
	found.Rules = withOrigins(rs, &planned)
}

// withOrigins returns the rules with the origins of the rules planned for the same
// chain. Of equal rules the first gets the origin of the first, and so on; extra ones
// get the origin of the last. A rule that was stored with another option keeps it, and
// so does a rule that is not planned.
func withOrigins(rs iptables.Ruleset, planned *iptables.Ruleset) iptables.Ruleset {
	result := rs
	result.Tables = nil
	for _, t := range rs.Tables {
		u := planned.Table(t.Family, t.Name)
		t.Chains = slices.Clone(t.Chains)
		for i := range t.Chains {
			c := &t.Chains[i]
			c.Rules = slices.Clone(c.Rules)
			if u == nil {
				continue
			}
			if d := u.Chain(c.Name); d != nil {
				copyOrigins(c.Rules, d.Rules)
			}
		}
		result.Tables = append(result.Tables, t)
	}
	return result
}

func copyOrigins(to, from []iptables.Rule) {
	origins := make(map[string][]iptables.Origin)
	for _, r := range from {
		text := r.String()
		origins[text] = append(origins[text], r.Origin)
	}
	for i := range to {
		text := to[i].String()
		left := origins[text]
		if len(left) > 0 && (to[i].Origin == (iptables.Origin{}) || to[i].Origin.Option == left[0].Option) {
			to[i].Origin = left[0]
		}
		if len(left) > 1 {
			origins[text] = left[1:]
		}
	}
}

// ListedPrefix returns the prefix that makes a rule of a family with this condition. A prefix
// of length 0 makes a rule without one.
func ListedPrefix(a iptables.Address, f iptables.Family) netip.Prefix {
	if a == (iptables.Address{}) {
		return EveryAddress(f)
	}
	return a.Prefix
}

// IsCommented reports whether any rule of ours has a comment of ours.
func IsCommented(own iptables.Ownership, rs iptables.Ruleset) bool {
	return rs.HasRule(func(_ *iptables.Table, c *iptables.Chain, r *iptables.Rule) bool {
		return own.OwnsRule(c.Name, *r) && slices.ContainsFunc(r.Matches, func(m iptables.Match) bool {
			comment, ok := m.(iptables.Comment)
			if ok {
				_, ok = iptables.ParseOrigin(comment.Text)
			}
			return ok
		})
	})
}
