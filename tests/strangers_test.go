package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// TestStrangers puts rules of others around ours, by iptables, and sees that whatever the
// program says of them is what happens to real connections.
func TestStrangers(t *testing.T) { testHarms(t, strangers()) }

// The backends with iptables' chains, and those of nf_tables.
const (
	inIPTables = "iptables-nft iptables-legacy iptables"
	overNFT    = "iptables-nft nftables iptables"
)

func strangers() []harm {
	toOther := []func(lab.Family) attempt{outTo(lab.OtherOutside, 443)}
	to8443 := []func(lab.Family) attempt{outTo(lab.Outside, 8443)}
	in8443 := []func(lab.Family) attempt{inTo(8443)}
	byUser := []func(lab.Family) attempt{outBy(6000, 6000)}
	return []harm{
		// Without connection tracking there is no nat.
		{name: "CT --notrack of everything out", commands: "ipt -t raw -I OUTPUT -p tcp -j CT --notrack", thenLost: true},
		{name: "NOTRACK of everything in", commands: "ipt -t raw -I PREROUTING -i eth0 -p tcp -j NOTRACK", thenLost: true, unlikeProbe: true},
		{name: "CT --notrack of queries", commands: "ipt -t raw -I OUTPUT -p udp --dport 53 -j CT --notrack", harmless: native},
		{name: "CT --notrack of a port", commands: "ipt -t raw -I OUTPUT -p tcp --dport 8443 -j CT --notrack", thenLost: true, about: to8443, unlikeProbe: true},
		{name: "CT --notrack of answers", commands: "ipt -t raw -I OUTPUT -p tcp --sport 15006 -j CT --notrack"},
		{name: "CT --notrack of what comes in to others", commands: "ipt -t raw -I PREROUTING -p tcp --dport 22 -j CT --notrack", about: []func(lab.Family) attempt{inTo(22)}, thenLost: true, unlikeProbe: true},
		{name: "a zone of conntrack for an interface", commands: "ipt -t raw -A PREROUTING -i eth0 -p tcp -j CT --zone 5\nipt -t raw -A OUTPUT -o eth0 -p tcp -j CT --zone 5", unlikeProbe: true},
		{name: "a zone of conntrack for everything", commands: "ipt -t raw -A PREROUTING -p tcp -j CT --zone 5\nipt -t raw -A OUTPUT -p tcp -j CT --zone 5", harmless: "all"},

		// In nat the first one that decides decides.
		{name: "nat accepts everything out", commands: "ipt -t nat -I OUTPUT -p tcp -j ACCEPT", harmless: native},
		{name: "nat accepts everything in", commands: "ipt -t nat -I PREROUTING -p tcp -j ACCEPT", harmless: native},
		{name: "nat accepts a port", commands: "ipt -t nat -I OUTPUT -p tcp --dport 8443 -j ACCEPT", about: to8443, harmless: native, unlikeProbe: true},
		{name: "nat accepts ports", commands: "ipt -t nat -I OUTPUT -p tcp -m multiport --dports 22,8440:8449 -j ACCEPT", about: to8443, harmless: native, unlikeProbe: true},
		{name: "nat accepts an address", commands: "ipt -t nat -I OUTPUT -d OTHER -j ACCEPT", about: toOther, harmless: native, unlikeProbe: true},
		{name: "nat accepts a range of addresses", commands: "ipt -t nat -I OUTPUT -p tcp -m iprange --dst-range OTHER-OTHER -j ACCEPT", about: toOther, harmless: native, unlikeProbe: true},
		{name: "nat accepts all but an address", commands: "ipt -t nat -I OUTPUT ! -d OTHER -p tcp -j ACCEPT", about: toOther, harmless: native},
		{name: "nat accepts a user", commands: "ipt -t nat -I OUTPUT -m owner --uid-owner 6000 -j ACCEPT", about: byUser, harmless: native, unlikeProbe: true},
		{name: "nat accepts users", commands: "ipt -t nat -I OUTPUT -m owner --uid-owner 5990-6010 -j ACCEPT", about: byUser, harmless: native, unlikeProbe: true},
		{name: "nat accepts all users but the proxy", commands: "ipt -t nat -I OUTPUT -m owner ! --uid-owner 1337 -j ACCEPT", about: byUser, harmless: native},
		{name: "nat accepts a group", commands: "ipt -t nat -I OUTPUT -m owner --gid-owner 6000 -j ACCEPT", about: byUser, harmless: native, unlikeProbe: true},
		{name: "nat accepts queries", commands: "ipt -t nat -I OUTPUT -p udp --dport 53 -j ACCEPT", harmless: native},
		{name: "nat accepts by type of address", commands: "ipt -t nat -I OUTPUT -m addrtype ! --dst-type LOCAL -j ACCEPT", harmless: native},
		{name: "nat accepts what comes in for local addresses", commands: "ipt -t nat -I PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT", harmless: native},
		{name: "nat accepts an interface", commands: "ipt -t nat -I PREROUTING -i eth+ -j ACCEPT", unlikeProbe: true, harmless: native},
		{name: "nat accepts in a chain", commands: "ipt -t nat -N STRANGERS\nipt -t nat -A STRANGERS -p tcp --dport 8443 -j ACCEPT\nipt -t nat -I OUTPUT -d OUTSIDE -j STRANGERS", about: to8443, harmless: native, unlikeProbe: true},
		{name: "nat returns from its chain", commands: "ipt -t nat -I OUTPUT -p tcp -j RETURN", harmless: native},
		{name: "nat goes to a chain that ends", commands: "ipt -t nat -N STRANGERS\nipt -t nat -I OUTPUT -p tcp -g STRANGERS", harmless: native},
		{name: "nat jumps to a chain that ends", commands: "ipt -t nat -N STRANGERS\nipt -t nat -A STRANGERS -j RETURN\nipt -t nat -I OUTPUT -p tcp -j STRANGERS", harmless: "all"},
		{name: "nat redirects out", commands: "ipt -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9999"},
		{name: "nat redirects in", commands: "ipt -t nat -I PREROUTING -p tcp -j REDIRECT --to-ports 9999"},
		{name: "nat redirects to nobody", commands: "ipt -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9"},
		{name: "nat redirects a port", commands: "ipt -t nat -I PREROUTING -p tcp --dport 8443 -j REDIRECT --to-ports 9999", about: in8443, unlikeProbe: true},
		{name: "nat redirects queries", commands: "ipt -t nat -I OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 9999"},
		{name: "nat sends an address to another", commands: "ipt -t nat -I OUTPUT -p tcp -d OTHER --dport 443 -j DNAT --to-destination OUTSIDE", about: toOther, unlikeProbe: true},
		{name: "nat sends queries to another server", commands: "ipt -t nat -I OUTPUT -p udp -d RESOLVER --dport 53 -j DNAT --to-destination OTHER", unlikeProbe: true},
		{name: "nat accepts at random", commands: "ipt -t nat -I OUTPUT -p tcp -m statistic --mode random --probability 0.5 -j ACCEPT", chance: true, harmless: native},
		{name: "nat accepts every second", commands: "ipt -t nat -I OUTPUT -p tcp -m statistic --mode nth --every 2 --packet 0 -j ACCEPT", chance: true, harmless: native},
		{name: "nat accepts up to a limit", commands: "ipt -t nat -I OUTPUT -p tcp -m limit --limit 1/min --limit-burst 5 -j ACCEPT", chance: true, unsure: true, harmless: native},
		{name: "nat redirects to the proxy's port", commands: "ipt -t nat -I OUTPUT -p tcp -d OTHER -j REDIRECT --to-ports 15001", about: toOther, harmless: "all"},
		{name: "nat accepts the source", commands: "ipt -t nat -I POSTROUTING -j ACCEPT\nipt -t nat -I INPUT -j ACCEPT", harmless: "all"},

		// Everything else drops.
		{name: "mangle drops out", commands: "ipt -t mangle -I OUTPUT -p tcp --dport 8443 -j DROP", about: to8443, unlikeProbe: true},
		{name: "mangle drops in", commands: "ipt -t mangle -I PREROUTING -p tcp --dport 8443 -j DROP", about: in8443, unlikeProbe: true},
		{name: "mangle drops by policy", commands: "ipt -t mangle -P OUTPUT DROP", undo: "ipt -t mangle -P OUTPUT ACCEPT"},
		{name: "mangle drops all but tcp by policy", commands: "ipt -t mangle -A PREROUTING -p tcp -j ACCEPT\nipt -t mangle -P PREROUTING DROP"},
		{name: "raw drops an address", commands: "ipt -t raw -I OUTPUT -d OTHER -j DROP", about: toOther, unlikeProbe: true},
		{name: "raw drops a source", commands: "ipt -t raw -I PREROUTING -s OTHER -p tcp -j DROP", about: []func(lab.Family) attempt{inFrom(lab.OtherOutside)}, unlikeProbe: true},
		{name: "raw drops a range of sources", commands: "ipt -t raw -I PREROUTING -p tcp -m iprange --src-range OTHER-OTHER -j DROP", about: []func(lab.Family) attempt{inFrom(lab.OtherOutside)}, unlikeProbe: true},
		{name: "raw drops by policy", commands: "ipt -t raw -P PREROUTING DROP"},
		{name: "raw accepts before its policy", commands: "ipt -t raw -I OUTPUT -j ACCEPT\nipt -t raw -P OUTPUT DROP", harmless: "all"},
		{name: "raw drops what has no connection", commands: "ipt -t raw -I OUTPUT -p tcp -m conntrack --ctstate INVALID -j DROP"},
		{name: "filter drops the proxy's port", commands: "ipt -A INPUT -p tcp --dport 15006 -j DROP"},
		{name: "filter drops the other of the proxy's ports", commands: "ipt -A INPUT -p tcp --dport 15001 -j DROP"},
		{name: "filter drops the application's port", commands: "ipt -A INPUT -p tcp --dport 8080 -j DROP", harmless: "all"},
		{name: "filter drops the port where the proxy answers queries", commands: "ipt -A INPUT -p udp --dport 15053 -j DROP"},
		{name: "filter rejects", commands: "ipt -A INPUT -p tcp --dport 15006 -j REJECT"},
		{name: "filter rejects with a reset", commands: "ipt -A INPUT -i eth0 -p tcp -j REJECT --reject-with tcp-reset", unlikeProbe: true},
		{name: "filter drops by policy", commands: "ipt -P INPUT DROP"},
		{name: "filter drops by policy what is not for the application", commands: "ipt -A INPUT -i lo -j ACCEPT\nipt -A INPUT -p tcp --dport 8080 -j ACCEPT\nipt -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\nipt -P INPUT DROP"},
		{name: "filter lets the proxy's port through", commands: "ipt -A INPUT -i lo -j ACCEPT\nipt -A INPUT -p tcp --dport 15006 -j ACCEPT\nipt -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\nipt -A INPUT -p ipv6-icmp -j ACCEPT\nipt -P INPUT DROP", harmless: "all"},
		{name: "filter lets only new ones through", commands: "ipt -A INPUT -p tcp --dport 15006 -m conntrack --ctstate NEW -j ACCEPT\nipt -A INPUT -i lo -j ACCEPT\nipt -A INPUT -i eth0 -p tcp -j DROP", unlikeProbe: true},
		{name: "filter lets tcp out by policy", commands: "ipt -A OUTPUT -o lo -j ACCEPT\nipt -P OUTPUT DROP"},
		{name: "filter drops established ones", commands: "ipt -A INPUT -p tcp -m conntrack --ctstate ESTABLISHED -j DROP"},
		{name: "filter drops established ones that go out", commands: "ipt -A OUTPUT -p tcp -m conntrack --ctstate ESTABLISHED -j DROP"},
		{name: "filter drops the proxy's answers", commands: "ipt -A OUTPUT -p tcp --sport 15006 -j DROP"},
		{name: "filter drops the proxy's answers to queries", commands: "ipt -A OUTPUT -p udp --sport 15053 -j DROP"},
		{name: "filter drops the proxy's user", commands: "ipt -A OUTPUT -p tcp -m owner --uid-owner 1337 -m conntrack --ctstate ESTABLISHED -j DROP"},
		{name: "filter drops an application's user", commands: "ipt -A OUTPUT -m owner --uid-owner 6000 -j DROP", about: byUser, unlikeProbe: true},
		{name: "filter drops what is invalid", commands: "ipt -A INPUT -m conntrack --ctstate INVALID -j DROP\nipt -A OUTPUT -m conntrack --ctstate INVALID -j DROP", harmless: "all"},
		{name: "filter drops a flood", commands: "ipt -A INPUT -p tcp --syn -m connlimit --connlimit-above 1000 -j DROP", unsure: true},
		{name: "filter drops short packets", commands: "ipt -A INPUT -i eth0 -p tcp -m length --length 0:100 -j DROP", unsure: true, unlikeProbe: true},
		{name: "filter drops at random", commands: "ipt -A INPUT -p tcp --syn -m statistic --mode random --probability 0.5 -j DROP", chance: true},
		{name: "security drops", commands: "ipt -t security -A INPUT -p tcp --dport 15006 -j DROP"},
		{name: "security drops out", commands: "ipt -t security -A OUTPUT -p tcp --dport 15001 -j DROP"},
		{name: "mangle drops after nat", commands: "ipt -t mangle -A INPUT -p tcp --dport 15006 -j DROP"},
		{name: "mangle drops on its way out after nat", commands: "ipt -t mangle -A POSTROUTING -o lo -p tcp --dport 15001 -j DROP"},
		{name: "mangle marks what filter drops", commands: "ipt -t mangle -A PREROUTING -p tcp --dport 8443 -j MARK --set-mark 0x20\nipt -A INPUT -m mark --mark 0x20 -j DROP", about: in8443, unlikeProbe: true},

		// TPROXY goes by marks.
		{name: "mangle marks as the proxy does", options: "--mode=TPROXY", commands: "ipt -t mangle -I PREROUTING -i eth0 -p tcp -j MARK --set-mark 1337", thenLost: true, unlikeProbe: true, in: inIPTables},
		{name: "mangle accepts before TPROXY", options: "--mode=TPROXY", commands: "ipt -t mangle -I PREROUTING -p tcp -j ACCEPT", harmless: native},
		{name: "TPROXY to somebody else", options: "--mode=TPROXY", commands: "ipt -t mangle -I PREROUTING -i eth0 -p tcp -j TPROXY --on-port 9999 --tproxy-mark 0x99", unlikeProbe: true, in: inIPTables},
		{name: "nat redirects beside TPROXY", options: "--mode=TPROXY", commands: "ipt -t nat -I PREROUTING -p tcp -j REDIRECT --to-ports 9999", harmless: "all"},
		{name: "nothing tracked beside TPROXY", options: "--mode=TPROXY", commands: "ipt -t raw -I PREROUTING -i eth0 -p tcp -j CT --notrack", harmless: "all"},
		{name: "a rule before that of TPROXY", options: "--mode=TPROXY", commands: "ip rule add pref 1 fwmark 1337 lookup main", beyond: true, undo: "ip rule del pref 1"},
		{name: "a rule that drops what TPROXY marks", options: "--mode=TPROXY", commands: "ip rule add pref 1 fwmark 1337/0xfff prohibit", beyond: true, undo: "ip rule del pref 1"},
		{name: "a rule about other marks", options: "--mode=TPROXY", commands: "ip rule add pref 1 fwmark 0x200/0x200 lookup main", undo: "ip rule del pref 1", harmless: "all"},

		// Beside those of ours there may be tables of the other kind.
		{name: "legacy nat redirects", commands: "legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 9999", in: overNFT},
		{name: "legacy nat redirects in", commands: "legacy -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 9999", in: overNFT},
		{name: "legacy nat accepts", commands: "legacy -t nat -A OUTPUT -p tcp -j ACCEPT", harmless: "all", in: overNFT},
		{name: "legacy filter drops the proxy's port", commands: "legacy -A INPUT -p tcp --dport 15006 -j DROP", in: overNFT},
		{name: "legacy mangle drops", commands: "legacy -t mangle -A OUTPUT -p tcp -j DROP", in: overNFT},
		{name: "legacy drops by policy", commands: "legacy -P INPUT DROP", in: overNFT},
		{name: "legacy raw does not track", commands: "legacy -t raw -A PREROUTING -i eth0 -p tcp -j CT --notrack", in: overNFT, thenLost: true, unlikeProbe: true},
		{name: "legacy tables with nothing", commands: "legacy -t nat -L -n\nlegacy -t mangle -L -n\nlegacy -L -n", harmless: "all", in: overNFT},
	}
}
