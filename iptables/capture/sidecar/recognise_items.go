package sidecar

import (
	"net/netip"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
)

// itemsOf returns the items of a rule's option that make up an interval of the values
// that the rule names. The list given may have been another, of more items, but these
// make the same rules: a set has what touches as one interval, and options take neither
// ranges of addresses nor, but one, of ids.
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

// maxIDs bounds how many neighbours are taken for so many items. Nobody lists more one by
// one, and an interval that somebody has changed can have all ids there are.
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
