package explain

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// item returns the origin of a rule with those items of its list alone that the
// packet is one of: a rule with a set is about all of a list. Where the list is not
// known in full, the item is what the set has.
func item(r *iptables.Rule, p *iptables.Packet) iptables.Origin {
	o := r.Origin
	words := strings.Split(o.Value, ",")
	var items []string
	for _, word := range words {
		if isOneOf(o.Option, word, p) {
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

// isOneOf reports whether what a packet has is one of those that an item of an
// option's list stands for.
func isOneOf(option, word string, p *iptables.Packet) bool {
	switch option {
	case "--excluded-ports", "--excluded-outbound-ports":
		ports, err := iptables.ParsePortRange(word)
		return err == nil && ports.Contains(p.DestinationPort)
	case "--excluded-cidrs":
		return isIn(word, p.Destination)
	case "--excluded-source-cidrs":
		return isIn(word, p.Source)
	case "--excluded-interfaces", "--virtual-interfaces":
		return word != "" && iptables.Interface{Name: word}.MetBy(p.In+p.Out)
	case "--excluded-uids":
		// Who comes last, after protocol and ports, which the rule is about.
		first, last, isRange := strings.Cut(word[strings.LastIndex(word, ":")+1:], "-")
		if !isRange {
			last = first
		}
		return p.Owner != nil && isFrom(first, last, p.Owner.UID)
	case "--proxy-uid":
		return p.Owner != nil && isFrom(word, word, p.Owner.UID)
	case "--proxy-gid", "--excluded-groups":
		return p.Owner != nil && isFrom(word, word, p.Owner.GID)
	}
	return false
}

func isIn(prefix string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(prefix)
	return err == nil && p.Contains(a)
}

// isFrom reports whether an id is in a range of numbers.
func isFrom(first, last string, id uint32) bool {
	a, err := strconv.ParseUint(first, 10, 32)
	b, err2 := strconv.ParseUint(last, 10, 32)
	return err == nil && err2 == nil && uint32(a) <= id && id <= uint32(b)
}

// elements returns those of a rule's sets that the packet is in.
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

// itemOf returns the part of a set's element that has a value, as an option takes it: what
// the option lists may have become one element.
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
