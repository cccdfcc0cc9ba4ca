package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// List matches one field of a packet against the values that an option lists, however
// many. Only a [Plan] has lists. A form writes each as a [Set] or as several rules.
type List struct {
	Field SetField
	// Not matches packets with none of the values.
	Not bool
	// Given are the values in the order given. They may repeat, overlap or touch.
	Given []Interval
	// Names are the values as written in the option, for the origins of rules. If it is
	// nil, [Interval.Text] names them.
	Names []string
	// Grouped says that iptables' form writes the list with the match multiport, in the
	// order given, up to [MaxMultiport] ports a rule. Otherwise it writes a rule for each
	// value, unless the list is too long for that.
	Grouped bool
	// Implied says that the match decides nothing: packets that it excludes reach the
	// same target in a later rule, with only that target in between. It is written where
	// iptables' text has to equal the reference's.
	Implied bool
}

// Set returns all values of the list, in order and joined.
func (l List) Set() Set { return NewSet(l.Field, l.Not, l.Given) }

// Items returns the values as written in the option, in the order given, without
// immediate repeats.
func (l List) Items() []string {
	items := make([]string, len(l.Given))
	for i := range l.Given {
		items[i] = l.Item(i)
	}
	return slices.Compact(items)
}

// ShortItems returns what [ShortList] makes of the items. It does not make the text of those
// that it leaves out.
func (l List) ShortItems(n int) string {
	if l.Names != nil {
		return ShortList(l.Items(), n)
	}
	shown, total := l, 0
	shown.Given = nil
	for i, v := range l.Given {
		if i > 0 && v == l.Given[i-1] {
			continue
		}
		if total++; total <= n {
			shown.Given = append(shown.Given, v)
		}
	}
	if total <= n {
		return ShortList(shown.Items(), n)
	}
	return shortList(shown.Items(), total)
}

// Item returns the value at an index of Given, as written in the option.
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

// MetBy looks the field up; see [Set].
func (l List) MetBy(p *Packet) (bool, error) { return l.Set().MetBy(p) }

// Values implements [FieldMatch].
func (l List) Values(f SetField) (values []Interval, not, ok bool) { return l.Set().Values(f) }
