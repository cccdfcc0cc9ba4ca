package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// TestStrangersInNFTables puts chains of others around ours, by nft.
func TestStrangersInNFTables(t *testing.T) { testHarms(t, strangersInNFTables()) }

// chain returns a table with one chain.
func chain(kind, hook, priority, rules string) string {
	return "table inet others {\nchain c { type " + kind + " hook " + hook + " priority " + priority + ";\n" + rules + "\n}\n}\n"
}

func strangersInNFTables() []harm {
	about := func(all ...func(lab.Family) attempt) []func(lab.Family) attempt { return all }
	out8443, in8443 := about(outTo(lab.Outside, 8443)), about(inTo(8443))
	toOther, byUser := about(outTo(lab.OtherOutside, 443)), about(outBy(6000, 6000))
	return []harm{
		{name: "nat accepts first", nft: chain("nat", "output", "-110", "tcp dport 1-65535 accept"), harmless: "all"},
		{name: "nat redirects first", nft: chain("nat", "output", "-110", "meta l4proto tcp redirect to :9999")},
		{name: "nat redirects in first", nft: chain("nat", "prerouting", "-110", "meta l4proto tcp redirect to :9999")},
		{name: "nat redirects last", nft: chain("nat", "output", "-90", "meta l4proto tcp redirect to :9999"), harmless: "all", unlikeProbe: true},
		{name: "nat redirects a port", nft: chain("nat", "prerouting", "-110", "tcp dport 8443 redirect to :9999"), about: in8443, unlikeProbe: true},
		{name: "nat sends elsewhere", nft: chain("nat", "output", "-110", "IP daddr OTHER tcp dport 443 dnat IP to OUTSIDE"), about: toOther, unlikeProbe: true},
		{name: "nat sends elsewhere by a map", nft: chain("nat", "output", "-110", "IP protocol tcp dnat IP to IP daddr map { OTHER : OUTSIDE }"), about: toOther, unlikeProbe: true, in: "none"},
		{name: "nat redirects by a map of ports", nft: chain("nat", "prerouting", "-110", "meta l4proto tcp redirect to :tcp dport map { 8443 : 9999, 8444 : 9998 }"), about: in8443, unlikeProbe: true},
		{name: "nat drops first", nft: chain("nat", "output", "-110", "meta l4proto tcp drop")},
		{name: "drops out", nft: chain("filter", "output", "0", "tcp dport 15001 drop")},
		{name: "drops before nat", nft: chain("filter", "output", "-110", "tcp dport 8443 drop"), about: out8443, unlikeProbe: true},
		{name: "drops the proxy's port", nft: chain("filter", "input", "0", "tcp dport 15006 drop")},
		{name: "drops ports in a set", nft: chain("filter", "input", "0", "tcp dport { 22, 15000-15010 } drop")},
		{name: "drops ports in a named set", nft: "table inet others {\nset bad { type inet_service; elements = { 15006 }; }\nchain c { type filter hook input priority 0;\ntcp dport @bad drop\n}\n}\n"},
		{name: "drops sources in a named set", nft: "table inet others {\nset bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }\nset bad6 { type ipv6_addr; elements = { 2001:db8:51::20 }; }\nchain c { type filter hook prerouting priority -10;\nip saddr @bad drop\nip6 saddr @bad6 drop\n}\n}\n", about: about(inFrom(lab.OtherOutside)), unlikeProbe: true},
		{name: "decides by a map of ports", nft: chain("filter", "prerouting", "-160", "tcp dport vmap { 22 : accept, 8443 : drop }"), about: in8443, unlikeProbe: true},
		{name: "decides by a map of states", nft: chain("filter", "input", "0", "ct state vmap { invalid : drop, established : drop }")},
		{name: "jumps by a map", nft: "table inet others {\nchain bad { drop; }\nchain c { type filter hook input priority 0;\ntcp dport vmap { 15006 : jump bad }\n}\n}\n"},
		{name: "rejects", nft: chain("filter", "input", "0", "tcp dport 15006 reject with tcp reset")},
		{name: "rejects a user", nft: chain("filter", "output", "0", "meta skuid 6000 reject"), about: byUser, unlikeProbe: true},
		{name: "drops a group", nft: chain("filter", "output", "-300", "meta skgid 6000 drop"), about: byUser, unlikeProbe: true},
		{name: "drops by policy", nft: "table inet others {\nchain c { type filter hook input priority 0; policy drop;\niifname lo accept\n}\n}\n"},
		{name: "drops by policy all but the application", nft: "table inet others {\nchain c { type filter hook input priority 0; policy drop;\niifname lo accept\nct state established accept\ntcp dport 8080 accept\n}\n}\n"},
		{name: "drops by policy all but the proxy", nft: "table inet others {\nchain c { type filter hook input priority 0; policy drop;\niifname lo accept\nct state established accept\nmeta l4proto ipv6-icmp accept\ntcp dport 15006 accept\n}\n}\n", harmless: "all"},
		{name: "sleeps", nft: "table inet others {\nflags dormant\nchain c { type filter hook input priority 0; policy drop;\n}\n}\n", harmless: "all"},
		{name: "does not track", nft: chain("filter", "output", "-310", "meta l4proto tcp notrack"), thenLost: true},
		{name: "does not track a port", nft: chain("filter", "output", "-310", "tcp dport 8443 notrack"), thenLost: true, about: out8443, unlikeProbe: true},
		{name: "does not track answers", nft: chain("filter", "output", "-310", "tcp sport 15006 notrack")},
		{name: "does not track too late", nft: chain("filter", "output", "-150", "meta l4proto tcp notrack"), harmless: "all"},
		{name: "drops what is not first", nft: chain("filter", "input", "0", "tcp dport 15006 ct state established drop")},
		{name: "drops by flags", nft: chain("filter", "input", "0", "tcp dport 15006 tcp flags & (syn | ack) == syn drop")},
		{name: "drops at random", nft: chain("filter", "input", "0", "numgen random mod 2 == 0 tcp dport 15006 tcp flags syn drop"), chance: true},
		{name: "drops over a rate", nft: chain("filter", "input", "0", "tcp dport 15006 limit rate over 1/minute burst 1 packets drop"), chance: true, unsure: true},
		{name: "marks what it drops", nft: "table inet others {\nchain c { type filter hook prerouting priority -160;\ntcp dport 8443 meta mark set 0x77\n}\nchain d { type filter hook input priority 0;\nmeta mark 0x77 drop\n}\n}\n", about: in8443, unlikeProbe: true},
		{name: "marks connections that it drops", nft: "table inet others {\nchain c { type filter hook prerouting priority -160;\ntcp dport 8443 ct mark set 0x77\n}\nchain d { type filter hook input priority 0;\nct mark 0x77 drop\n}\n}\n", about: in8443, unlikeProbe: true},
		{name: "marks as the proxy does", options: "--mode=TPROXY", nft: chain("filter", "prerouting", "-160", "iifname eth0 meta l4proto tcp meta mark set 1337"), thenLost: true, unlikeProbe: true},
		{name: "marks as the proxy does without need", nft: chain("filter", "prerouting", "-160", "iifname eth0 meta l4proto tcp meta mark set 1337"), harmless: "all"},
		{name: "takes by TPROXY", options: "--mode=TPROXY", nft: chain("filter", "prerouting", "-160", "iifname eth0 meta l4proto tcp tproxy to :9998 accept"), unsure: true, unlikeProbe: true},
		{name: "drops at the interface", nft: "table netdev others {\nchain c { type filter hook ingress device \"eth0\" priority 0;\ntcp dport 8443 drop\n}\n}\n", about: in8443, unlikeProbe: true},
		{name: "drops everything at the interface", nft: "table netdev others {\nchain c { type filter hook ingress device \"eth0\" priority 0;\nmeta l4proto tcp drop\n}\n}\n", unlikeProbe: true},
		{name: "drops in inet's ingress", nft: "table inet others {\nchain c { type filter hook ingress device \"eth0\" priority 0;\ntcp dport 8080 drop\ntcp dport 8443 drop\n}\n}\n", about: in8443, unlikeProbe: true, in: "none"},
		{name: "drops answers as they leave", nft: "table netdev others {\nchain c { type filter hook egress device \"eth0\" priority 0;\nmeta l4proto tcp drop\n}\n}\n", unlikeProbe: true},
		{name: "drops at another interface", nft: "table netdev others {\nchain c { type filter hook ingress device \"lo\" priority 0;\ntcp dport 22 drop\n}\n}\n", harmless: "all"},
		{name: "drops at lo", nft: "table netdev others {\nchain c { type filter hook ingress device \"lo\" priority 0;\ntcp dport 15001 drop\n}\n}\n"},
		{name: "drops by the type of address", nft: chain("filter", "prerouting", "-160", "iifname eth0 fib daddr type local tcp dport 8443 drop"), about: in8443, unlikeProbe: true},
		{name: "drops by length", nft: chain("filter", "input", "0", "iifname eth0 meta length < 100 meta l4proto tcp drop"), unsure: true, unlikeProbe: true},
		{name: "looks at the data", nft: chain("filter", "input", "0", "@th,0,16 1234 drop"), harmless: "all", in: "none"},
		{name: "the tables of the families", nft: "table IP others {\nchain c { type filter hook input priority 0;\ntcp dport 15006 drop\n}\n}\n", in: "none"},
		{name: "at the place of ours", nft: chain("nat", "output", "-100", "meta l4proto tcp redirect to :9999"), in: "iptables-nft iptables-legacy iptables"},
		{name: "drops at the place of ours", nft: chain("filter", "input", "-150", "tcp dport 15006 drop")},
	}
}
