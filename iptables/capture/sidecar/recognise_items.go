package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// itemsOf returns items of a rule's option that make up an interval of the values that
// the rule names. The user may have given more items, but these make the same rules: in
// a set, neighbours are one interval. Options take no ranges of addresses, and only one
// takes ranges of ids.
func itemsOf(r *iptables.Rule, i iptables.Interval) []string {
	field := listedField(r)
	switch field {
	case iptables.SourceAddress, iptables.DestinationAddress:
		return texts(i.Prefixes(), netip.Prefix.String)
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
		ids = append(ids, number(first+n))
	}
	return ids, true
}
