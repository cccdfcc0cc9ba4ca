package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// TestDamages damages our own rules, in the chains of iptables and in those of the native
// form, and sees that whatever the program says of it is what happens to real connections.
// No option is the reason, and applying again mends it.
func TestDamages(t *testing.T) {
	rows := append(damages(), nativeDamages()...)
	for i := range rows {
		rows[i].damage, rows[i].looksMeant = true, slices.Contains(meant(), rows[i].name)
		rows[i].about = append(rows[i].about, outBy(proxy().as.UID, proxy().as.GID))
	}
	testHarms(t, rows)
}

// meant are the names of the damages after which the rules are those of other options.
func meant() []string {
	return []string{
		"redirected to another port", "redirected in to another port", "redirected to nobody", "nat is empty in IPv6", "nat is empty",
		"nat is gone", "everything is gone", "the table is empty", "the table is gone", "nothing of IPv6", "raw is empty", "raw ISTIO_OUTPUT_DNS is empty",
		"nat ISTIO_INBOUND is empty", "nat ISTIO_OUTPUT is empty", "nat ISTIO_OUTPUT_DNS is empty", "nat ISTIO_REDIRECT is empty",
		"nat PREROUTING lacks the jump", "nat OUTPUT lacks the jump", "exempts an application's user", "exempts a port",
		"mangle ISTIO_INBOUND is empty", "mangle lacks a jump", "TPROXY to another port", "the jump is for one port",
	}
}

// ownChain is a chain of ours.
type ownChain struct{ table, name string }

func (c ownChain) String() string { return c.table + " " + c.name }

// ownChains are those of --redirect-dns.
func ownChains() []ownChain {
	return []ownChain{
		{"nat", "ISTIO_INBOUND"}, {"nat", "ISTIO_IN_REDIRECT"}, {"nat", "ISTIO_OUTPUT"}, {"nat", "ISTIO_OUTPUT_DNS"}, {"nat", "ISTIO_REDIRECT"},
		{"raw", "ISTIO_INBOUND"}, {"raw", "ISTIO_OUTPUT_DNS"},
	}
}

// ownJumps are the rules that lead to them.
func ownJumps() []struct{ table, chain, rule string } {
	return []struct{ table, chain, rule string }{
		{"nat", "PREROUTING", "-p tcp -j ISTIO_INBOUND"}, {"nat", "OUTPUT", "-j ISTIO_OUTPUT"},
		{"raw", "PREROUTING", "-j ISTIO_INBOUND"}, {"raw", "OUTPUT", "-j ISTIO_OUTPUT_DNS"},
	}
}

func damages() []harm {
	var rows []harm
	add := func(name, commands string) { rows = append(rows, harm{name: name, commands: commands, in: inIPTables}) }
	about := func(name, commands string, a func(lab.Family) attempt) {
		rows = append(rows, harm{name: name, commands: commands, in: inIPTables, about: []func(lab.Family) attempt{a}, unlikeProbe: true})
	}
	for _, c := range ownChains() {
		add(fmt.Sprint(c, " is empty"), fmt.Sprintf("ipt -t %s -F %s", c.table, c.name))
		add(fmt.Sprint(c, " lacks a rule"), fmt.Sprintf("ipt -t %s -D %s 1", c.table, c.name))
		for _, target := range []string{"RETURN", "ACCEPT", "DROP"} {
			if c.table == "nat" && target == "DROP" {
				// iptables does not let nat drop.
				continue
			}
			add(fmt.Sprint(c, " begins with ", target), fmt.Sprintf("ipt -t %s -I %s -j %s", c.table, c.name, target))
		}
	}
	for _, j := range ownJumps() {
		add(fmt.Sprint(j.table, " ", j.chain, " lacks the jump"), fmt.Sprintf("ipt -t %s -D %s %s", j.table, j.chain, j.rule))
		add(fmt.Sprint(j.table, " ", j.chain, " has the jump twice"), fmt.Sprintf("ipt -t %s -A %s %s", j.table, j.chain, j.rule))
	}
	add("the jump is for one port", "ipt -t nat -R PREROUTING 1 -p tcp --dport 22 -j ISTIO_INBOUND")
	add("the jump goes to another chain", "ipt -t nat -R PREROUTING 1 -p tcp -j ISTIO_REDIRECT")
	add("the jump's chain has another name", "ipt -t nat -N STRANGERS\nipt -t nat -R OUTPUT 1 -j STRANGERS")
	add("redirected to another port", "ipt -t nat -R ISTIO_REDIRECT 1 -p tcp -j REDIRECT --to-ports 9999")
	add("redirected in to another port", "ipt -t nat -R ISTIO_IN_REDIRECT 1 -p tcp -j REDIRECT --to-ports 9999")
	add("redirected to nobody", "ipt -t nat -R ISTIO_REDIRECT 1 -p tcp -j REDIRECT --to-ports 9")
	about("exempts an application's user", "ipt -t nat -I ISTIO_OUTPUT 2 -m owner --uid-owner 6000 -j RETURN", outBy(6000, 6000))
	about("exempts a port", "ipt -t nat -I ISTIO_INBOUND -p tcp --dport 8443 -j RETURN", inTo(8443))
	add("the proxy has another user", "ipt -t nat -R ISTIO_OUTPUT 4 -m owner --uid-owner 1338 -j RETURN\nipt -t nat -D ISTIO_OUTPUT 7")
	add("nat is empty", "ipt -t nat -F")
	add("raw is empty", "ipt -t raw -F")
	add("nat is gone", "ipt -t nat -F\nipt -t nat -X")
	add("nat is empty in IPv6", "ipt6 -t nat -F")
	add("nat lacks a jump in IPv4", "ipt4 -t nat -F OUTPUT")
	add("everything is gone", "ipt -t nat -F\nipt -t nat -X\nipt -t raw -F\nipt -t raw -X")
	add("a rule is moved to the end", "ipt -t nat -D ISTIO_OUTPUT 4\nipt -t nat -A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN")
	add("the last rule is moved to the top", "ipt -t nat -I ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT")
	tproxy := func(name, commands string, beyond bool) {
		rows = append(rows, harm{name: name, options: "--mode=TPROXY", commands: commands, in: inIPTables, beyond: beyond})
	}
	for _, c := range []string{"ISTIO_DIVERT", "ISTIO_INBOUND", "ISTIO_OUTPUT", "ISTIO_PREROUTING", "ISTIO_TPROXY"} {
		tproxy("mangle "+c+" is empty", "ipt -t mangle -F "+c, true)
		tproxy("mangle "+c+" begins with RETURN", "ipt -t mangle -I "+c+" -j RETURN", true)
	}
	tproxy("TPROXY to another port", "ipt -t mangle -R ISTIO_TPROXY 1 ! -d LOOPBACK -p tcp -j TPROXY --on-port 9998 --tproxy-mark 1337", false)
	tproxy("TPROXY with another mark", "ipt -t mangle -R ISTIO_TPROXY 1 ! -d LOOPBACK -p tcp -j TPROXY --on-port 15006 --tproxy-mark 7", true)
	tproxy("mangle lacks a jump", "ipt -t mangle -D PREROUTING 1", false)
	rows = append(rows,
		harm{name: "TPROXY's rule is gone", options: "--mode=TPROXY", commands: "ip rule del fwmark 1337 lookup 133", beyond: true},
		harm{name: "TPROXY's route is gone", options: "--mode=TPROXY", commands: "ip route flush table 133", beyond: true},
		harm{name: "rules in legacy tables too", commands: "iptables-nft-save -t nat | iptables-legacy-restore\nip6tables-nft-save -t nat | ip6tables-legacy-restore", in: "iptables-nft iptables", twice: true},
	)
	return rows
}

// nativeDamages are those of the native form.
func nativeDamages() []harm {
	var rows []harm
	add := func(name, nft string) { rows = append(rows, harm{name: name, nft: nft, in: native}) }
	inNative := func(c ownChain) string {
		if c.table == "nat" {
			return c.name
		}
		return c.table + "_" + c.name
	}
	for _, c := range ownChains() {
		add(fmt.Sprint(c, " is empty"), "flush chain inet meshtables "+inNative(c))
		for _, verdict := range []string{"return", "accept", "drop"} {
			add(fmt.Sprint(c, " begins with ", verdict), fmt.Sprintf("insert rule inet meshtables %s %s", inNative(c), verdict))
		}
	}
	for _, j := range ownJumps() {
		base := inNative(ownChain{j.table, j.chain})
		add(fmt.Sprint(j.table, " ", j.chain, " lacks the jump"), "flush chain inet meshtables "+base)
		add(fmt.Sprint(j.table, " ", j.chain, " drops by policy"), fmt.Sprintf("add chain inet meshtables %s { policy drop; }", base))
		add(fmt.Sprint(j.table, " ", j.chain, " accepts before the jump"), fmt.Sprintf("insert rule inet meshtables %s meta l4proto tcp accept", base))
	}
	add("the table is dormant", "add table inet meshtables { flags dormant; }")
	add("the table is empty", "flush table inet meshtables")
	add("the table is gone", "delete table inet meshtables")
	add("the jump's chain has another name", "rename chain inet meshtables ISTIO_OUTPUT STRANGERS")
	add("redirected to another port", "flush chain inet meshtables ISTIO_REDIRECT\nadd rule inet meshtables ISTIO_REDIRECT meta l4proto tcp redirect to :9999")
	add("redirected to nobody", "flush chain inet meshtables ISTIO_IN_REDIRECT\nadd rule inet meshtables ISTIO_IN_REDIRECT meta l4proto tcp redirect to :9")
	rows = append(rows, harm{
		name: "exempts an application's user", nft: "insert rule inet meshtables ISTIO_OUTPUT meta skuid 6000 return", in: native,
		about: []func(lab.Family) attempt{outBy(6000, 6000)}, unlikeProbe: true,
	})
	add("nothing of IPv6", "insert rule inet meshtables OUTPUT meta nfproto ipv6 return\ninsert rule inet meshtables PREROUTING meta nfproto ipv6 return")
	rows = append(rows, harm{
		name: "exempts ports", nft: "insert rule inet meshtables ISTIO_INBOUND tcp dport { 8442, 8443 } return", in: native,
		about: []func(lab.Family) attempt{inTo(8443)}, unlikeProbe: true,
	})
	rows = append(rows, harm{
		name: "rules in the tables of iptables too", in: native, twice: true,
		commands: "ipt -t nat -N ISTIO_OUTPUT\nipt -t nat -A ISTIO_OUTPUT -p tcp -j RETURN\nipt -t nat -A ISTIO_OUTPUT -p udp -j ACCEPT\nipt -t nat -I OUTPUT -j ISTIO_OUTPUT",
	})
	return rows
}
