package explain

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Item returns the origin of the rule that exempts the packet, with only those items of
// its list that match the packet: a rule with a set covers the whole list. If the list
// is not known in full, the item comes from the set. isOneOf reports whether an item of
// the option's list covers the packet.
func (b *Bypass) Item(isOneOf func(item string) bool) iptables.Origin {
	r, p := &b.Step.Rule, b.Packet
	o := r.Origin
	words := strings.Split(o.Value, ",")
	var items []string
	for _, word := range words {
		if isOneOf(word) {
			items = append(items, word)
		}
	}
	if len(items) == 0 {
		items = elements(r, p)
	}
	if len(items) > 0 {
		o.Value = strings.Join(items, ",")
	}
	return o
}

// elements returns the elements of a rule's sets that contain the packet.
func elements(r *iptables.Rule, p *iptables.Packet) []string {
	var items []string
	for _, m := range r.Matches {
		s, ok := m.(iptables.Set)
		if !ok || s.Not {
			continue
		}
		value, ok := p.Value(s.Field)
		if !ok {
			continue
		}
		for _, e := range s.Elements {
			if e.Contains(value) {
				items = append(items, itemOf(e, value, s.Field))
			}
		}
	}
	return items
}

// itemOf returns the part of a set's element that contains a value, as an option takes it.
// One element may hold several items of the option's list.
func itemOf(e iptables.Interval, value iptables.Value, f iptables.SetField) string {
	switch f {
	case iptables.SourceAddress, iptables.DestinationAddress:
		for _, p := range e.Prefixes() {
			if iptables.PrefixInterval(p).Contains(value) {
				return p.String()
			}
		}
	case iptables.OwnerGID:
		return iptables.Interval{First: value, Last: value}.Text(f)
	}
	return e.Text(f)
}
