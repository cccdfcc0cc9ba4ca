package nftables

import (
	"fmt"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// foreignRules is what other programs have in the tables that we write to, with
// counters and rules of kinds that the model does not have. PING stands for the
// family's own protocol.
const foreignRules = `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIOLOGY - [0:0]
:ZZZ - [0:0]
[1:10] -A PREROUTING -p tcp -m tcp --dport 4443 -j ISTIOLOGY
[2:20] -A OUTPUT -m comment --comment "it's \"ours\"" -j ZZZ
[3:30] -A ISTIOLOGY -p tcp -m tcp --dport 4443 -j REDIRECT --to-ports 4444
[4:40] -A ISTIOLOGY -m limit --limit 5/min -j ZZZ
[5:50] -A ZZZ PING -j ACCEPT
COMMIT
*mangle
:ISTIOLOGY - [0:0]
[6:60] -A ISTIOLOGY -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x7/0xffffffff
[7:70] -A PREROUTING -j ISTIOLOGY
COMMIT
*filter
:INPUT DROP [0:0]
[8:80] -A INPUT -m state --state NEW -j ACCEPT
COMMIT
`

// foreignHandles lists the rules that are not ours with their handles, which
// change if a rule is written again, in order, with counters.
func foreignHandles(t testing.TB) []string {
	t.Helper()
	handles := make(map[string][]uint64) // by chain, in order
	err := connected(t.Context(), nstest.Here(t), func(c *netlink.Conn) error {
		return c.Dump(t.Context(), listing(unix.NFT_MSG_GETRULE, "list the rules"), func(m netlink.Message) {
			p, r := tables.ReadRule(m)
			for _, key := range iptablesKeys() {
				if p.In(key) {
					chain := fmt.Sprint(key, " ", string(p.Chain()))
					handles[chain] = append(handles[chain], r.Handle)
				}
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, table := range load(t).Tables {
		for _, c := range table.Chains {
			chain := fmt.Sprint(tables.Key{Family: table.Family, Name: table.Name}, " ", c.Name)
			if owned.Owns(c.Name) {
				continue
			}
			for i, r := range c.Rules {
				if !owned.OwnsJump(r) {
					list = append(list, fmt.Sprint(chain, handles[chain][i], r.Counters, r))
				}
			}
		}
	}
	return list
}

// iptablesKeys are the tables of the rules that the tests write.
func iptablesKeys() []tables.Key {
	var keys []tables.Key
	for _, family := range iptables.Families() {
		for _, name := range []string{iptables.Raw, iptables.Mangle, iptables.Nat, "filter"} {
			keys = append(keys, tables.Key{Family: family, Name: name})
		}
	}
	return keys
}

// generation returns the number of the state that the kernel's rules are in.
func generation(t testing.TB) (n uint32) {
	t.Helper()
	err := connected(t.Context(), nstest.Here(t), func(c *netlink.Conn) (err error) {
		n, err = c.Generation(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ping(family iptables.Family) string {
	if family == iptables.IPv6 {
		return "-p ipv6-icmp -m icmp6 --icmpv6-type 128"
	}
	return "-p icmp -m icmp --icmp-type 8"
}
