package nftables

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Whatever bytes come, they can be read as rules of either form.
func FuzzRead(f *testing.F) {
	table := everyForm(iptables.IPv4, iptables.Mangle)
	table.Chains = table.Chains[len(table.Chains)-2:]
	addSeeds(f, &compat.Tables{Ownership: owned}, iptables.Ruleset{Tables: []iptables.Table{table}})
	planned := NewNative(nil, owned).Form(planOf(f, "tproxy-dual-stack"))
	planned.Tables[0].Append("ISTIO_COUNT", iptables.Rule{}) // a rule that only counts
	addSeeds(f, &native.Table{Ownership: owned}, planned)
	addSeeds(f, &native.Table{Ownership: owned}, NewNative(nil, owned).Form(plantest.Random(1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := new(snapshot)
		for m, err := range netlink.Messages(data) {
			if err != nil {
				break
			}
			switch m.Kind {
			case netlink.NFTables(unix.NFT_MSG_NEWTABLE):
				s.addTable(m)
			case netlink.NFTables(unix.NFT_MSG_NEWCHAIN):
				s.addChain(m)
			case netlink.NFTables(unix.NFT_MSG_NEWRULE):
				s.addRule(m)
			case netlink.NFTables(unix.NFT_MSG_NEWSET):
				s.native.AddSet(m)
				s.reader.AddSet(m)
			case netlink.NFTables(unix.NFT_MSG_NEWSETELEM):
				s.native.AddElements(m)
				s.reader.AddElements(m)
			}
		}
		s.native.DecodeRules()
		s.compat.Complete(func(key tables.Key, exprs []expression.Expression) iptables.Rule {
			return s.reader.Rule(key, key.Family, exprs)
		})
		others := iptables.Ruleset{Tables: s.others.Rules(&s.reader)}
		_ = text(others)
		meetAll(others)
		for _, f := range []written{&s.compat, &s.native} {
			rs := f.Ruleset()
			_ = text(rs)
		}
	})
}

// meetAll asks whether packets meet the rules.
func meetAll(rs iptables.Ruleset) {
	for _, table := range rs.Tables {
		for _, p := range meeting(table.Family, iptables.TCP) {
			for _, c := range table.Chains {
				for i := range c.Rules {
					_, _ = p.Matches(&c.Rules[i])
					if t, ok := c.Rules[i].Target.(iptables.Choice); ok {
						_ = t.Cases(&p)
					}
				}
			}
		}
	}
}

// addSeeds adds each rule of a batch that makes everything, after all tables and chains
// and the sets that it looks up, so that it has its place.
func addSeeds(f *testing.F, empty written, want iptables.Ruleset) {
	var head, sets []byte
	for m := range split(batchOf(f, empty, want)) {
		switch kindOf(m) {
		case netlink.NFTables(unix.NFT_MSG_NEWSET), netlink.NFTables(unix.NFT_MSG_NEWSETELEM):
			sets = append(sets, m...)
		case netlink.NFTables(unix.NFT_MSG_NEWRULE):
			f.Add(bytes.Join([][]byte{head, sets, m}, nil))
			sets = nil
		default:
			head = append(head, m...)
		}
	}
}

// batchOf returns the messages that make want of nothing.
func batchOf(t testing.TB, empty written, want iptables.Ruleset) (sent []byte) {
	t.Helper()
	c := netlink.NewConn(&faulty{onSend: func(request []byte) []byte {
		sent = bytes.Clone(request)
		return refusal(sequenceOf(request), unix.EPERM)
	}})
	changes := tables.NewChanges(c, netlink.AnyGeneration)
	if err := empty.Changes(changes, want); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), changes.Batch); !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	return sent
}
