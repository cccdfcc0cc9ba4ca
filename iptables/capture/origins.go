package capture

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Origins holds the values of options, in order, as rules were stored with them.
type Origins map[string][]string

// ListedField returns what the option behind a rule is a list of.
type ListedField func(*iptables.Rule) iptables.SetField

// OriginsOf collects them from the rules of a policy. If several tables have rules of a
// list, nat has them all, so its order is the order of the list.
func OriginsOf(own iptables.Ruleset, listed ListedField) Origins {
	c := originCollector{make(Origins), make(map[iptables.Origin]bool), listed}
	tables := slices.Clone(own.Tables)
	slices.SortStableFunc(tables, natFirst)
	for _, t := range tables {
		for _, chain := range t.Chains {
			for _, r := range chain.Rules {
				if r.Origin != (iptables.Origin{}) {
					c.add(&r, t.Family)
				}
			}
		}
	}
	return c.found
}

func natFirst(a, b iptables.Table) int {
	switch {
	case a.Name == b.Name:
		return 0
	case a.Name == iptables.Nat:
		return -1
	case b.Name == iptables.Nat:
		return 1
	}
	return 0
}

type originCollector struct {
	found  Origins
	known  map[iptables.Origin]bool
	listed ListedField
}

// add adds the values of a rule's option, except those known from other rules.
func (c *originCollector) add(r *iptables.Rule, f iptables.Family) {
	option := r.Origin.Option
	values := slices.DeleteFunc(slices.Concat(c.valuesOf(r), c.unlistedPrefix(r, f)), func(v string) bool {
		return c.known[iptables.Origin{Option: option, Value: v}]
	})
	for _, v := range values {
		c.known[iptables.Origin{Option: option, Value: v}] = true
	}
	c.found[option] = append(c.found[option], values...)
}

// valuesOf returns the items of an option's value. If the list was too long to be stored,
// they come from the rule's conditions: from one, or where a list is negated from one each.
// There, neighbours are one interval.
func (c *originCollector) valuesOf(r *iptables.Rule) []string {
	if r.Origin.Value != "" && !r.Origin.IsShortened() {
		return strings.Split(r.Origin.Value, ",")
	}
	var values []string
	field := c.listed(r)
	for _, i := range r.Named(field) {
		values = append(values, itemsOf(field, i)...)
	}
	return values
}

// unlistedPrefix returns every address of a family, if the rule matches that and its
// origin does not list it: such a rule has no address. The list was too long to be
// stored, or the rule is for both families and was stored with the list of the other.
func (c *originCollector) unlistedPrefix(r *iptables.Rule, f iptables.Family) []string {
	field := c.listed(r)
	if r.Address(field) == nil || r.Origin.Value == "*" || len(r.Named(field)) > 0 {
		return nil
	}
	isListed := func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && iptables.FamilyOf(p.Addr()) == f
	}
	if slices.ContainsFunc(c.valuesOf(r), isListed) {
		return nil
	}
	return []string{EveryAddress(f).String()}
}

// EveryAddress returns the prefix of all addresses of a family.
func EveryAddress(f iptables.Family) netip.Prefix { return netip.PrefixFrom(f.Unspecified(), 0) }

// itemsOf returns items of an option that make up an interval of the values that a rule
// names. The user may have given more items, but these make the same rules: in a set,
// neighbours are one interval. Options take no ranges of addresses, and few take ranges of
// ids.
func itemsOf(field iptables.SetField, i iptables.Interval) []string {
	switch field {
	case iptables.SourceAddress, iptables.DestinationAddress:
		return Texts(i.Prefixes(), netip.Prefix.String)
	case iptables.OwnerUID, iptables.OwnerGID:
		if ids, ok := idsOf(i); ok {
			return ids
		}
	}
	return []string{i.Text(field)}
}

// maxIDs bounds how many ids of an interval count as items. Nobody lists more one by one,
// and an interval that somebody changed can have all ids.
const maxIDs = 1 << 17

func idsOf(i iptables.Interval) (ids []string, ok bool) {
	first, last := i.IDs()
	if last-first >= maxIDs {
		return nil, false
	}
	for n := range last - first + 1 {
		ids = append(ids, strconv.FormatUint(uint64(first+n), 10))
	}
	return ids, true
}
