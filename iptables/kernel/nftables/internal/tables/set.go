package tables

import (
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// SetKey names a set or a map.
type SetKey struct {
	Table Key
	Name  string
}

// SetsOf returns the sets that a rule of a table looks up.
func SetsOf(table Key, exprs []expression.Expression) []SetKey {
	var all []SetKey
	for _, e := range exprs {
		if e.Name != "lookup" {
			continue
		}
		for kind, value := range netlink.Attributes(e.Data) {
			if kind == unix.NFTA_LOOKUP_SET {
				all = append(all, SetKey{table, netlink.ReadString(value)})
			}
		}
	}
	return all
}
