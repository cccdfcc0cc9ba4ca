package nftables

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Whatever bytes come, reading them neither fails badly nor loses a rule.
func FuzzRead(f *testing.F) {
	var sent []byte
	c := netlink.NewConn(&faulty{onSend: func(request []byte) []byte {
		sent = bytes.Clone(request)
		return refusal(sequenceOf(request), unix.EPERM)
	}})
	changes := tables.NewChanges(c, 1)
	table := everyForm(iptables.IPv4, iptables.Mangle)
	table.Chains = table.Chains[len(table.Chains)-2:]
	if err := new(compat.Tables).Changes(changes, iptables.Ruleset{Tables: []iptables.Table{table}}); err != nil {
		f.Fatal(err)
	}
	if err := c.Commit(changes.Batch); !errors.Is(err, unix.EPERM) {
		f.Fatal(err)
	}
	// Tables and chains first, so that the rule has its place.
	var head []byte
	for m := range split(sent) {
		if kindOf(m) != netlink.NFTables(unix.NFT_MSG_NEWRULE) {
			head = append(head, m...)
			continue
		}
		f.Add(append(head[:len(head):len(head)], m...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &snapshot{}
		for m, err := range netlink.Messages(data) {
			if err != nil {
				break
			}
			s.addTable(m)
			s.addChain(m)
			s.addRule(m)
		}
		for _, f := range []form{&s.compat, &s.native} {
			rs := f.Ruleset()
			_ = rs.Save(iptables.IPv4)
		}
	})
}
