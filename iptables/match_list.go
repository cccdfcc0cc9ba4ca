package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// List is the match of one field of a packet with any of the values that an option
// lists. It is what a policy means, whatever the length of the list, so it is in a
// [Plan] only: a form writes it as its words allow, as [Set] or as rules.
type List struct {
	Field SetField
	// Not matches what has none of the values.
	Not bool
	// Given are the values in the order in which they were given, with those that are
	// equal, overlap or touch.
	Given []Interval
	// Names are the values as the option has them, for the origins of rules. Where it is
	// nil, each is what [Interval.Text] returns.
	Names []string
	// Grouped says that iptables writes the list with the match multiport, up to
	// [MaxMultiport] ports a rule in the order given. Otherwise it writes a rule for
	// each value, as long as the list is not too long for that.
	Grouped bool
	// Implied says that the match decides nothing: what it keeps from the rule's target
	// meets the same one in a later rule, with nothing but that target between. It is
	// written where iptables' text is to be that of the reference.
	Implied bool
}

// Set returns all values of the list, in order and joined.
func (l List) Set() Set { return NewSet(l.Field, l.Not, l.Given) }

// Items returns the values as the option has them, in the order given, without those
// that repeat the one before.
func (l List) Items() []string {
	items := make([]string, len(l.Given))
	for i := range l.Given {
		items[i] = l.Item(i)
	}
	return slices.Compact(items)
}

// Item returns the value at an index of those given, as the option has it.
func (l List) Item(at int) string {
	if l.Names != nil {
		return l.Names[at]
	}
	return l.Given[at].Text(l.Field)
}

// appendSave writes the list for people, in the order given.
func (l List) appendSave(words []string) []string {
	return append(appendNot(words, l.Not), string(l.Field), "{"+strings.Join(l.Items(), ",")+"}")
}

func (l List) validate(r *Rule) error {
	address, iface := r.Address(l.Field), r.Interface(l.Field)
	if address != nil && *address != (Address{}) || iface != nil && *iface != (Interface{}) {
		return fmt.Errorf("the rule has both a list of %s and one value", l.Field)
	}
	return Set{Field: l.Field, Elements: l.Given}.validate(r)
}

// MetBy looks a field up; see [Set].
func (l List) MetBy(p *Packet) (bool, error) { return l.Set().MetBy(p) }

// Values implements [FieldMatch].
func (l List) Values(f SetField) (values []Interval, not, ok bool) { return l.Set().Values(f) }
