package compact_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/compact"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/tests/soak"
)

// Rules that no plan has keep their meaning too: with marks that change on the way,
// gotos, negations of everything, states and owners, in all orders.
func TestPacketsFareAsBefore(t *testing.T) {
	const parts, packets = 8, 100
	rulesets := soak.Times(50, 250)
	for part := range uint64(parts) {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(20261121, part))
			shorter := 0
			for range rulesets {
				rs := randomRuleset(t, random)
				text := rs.Save(iptables.IPv4)
				sets := compact.Sets(rs)
				if got := rs.Save(iptables.IPv4); got != text {
					t.Fatalf("the ruleset itself has become\n%s\nfrom\n%s", got, text)
				}
				if sets.Len() < rs.Len() {
					shorter++
				}
				values := packettest.ValuesOf(iptables.IPv4, &rs)
				for range packets {
					p := values.Packet(random)
					before, after := walk(t, rs, p), walk(t, sets, p)
					if got, want := packettest.Fate(after), packettest.Fate(before); got != want {
						t.Fatalf("%+v (owner %+v)\nbefore: %s\n%safter: %s\n%s\n%s\n%s", p, p.Owner,
							want, packettest.Path(before), got, packettest.Path(after), text, sets.Save(iptables.IPv4))
					}
				}
			}
			if shorter < rulesets/2 {
				t.Errorf("only %d of %d rulesets have fewer rules", shorter, rulesets)
			}
		})
	}
}

// conditions are what a made-up rule can ask of a part of a packet. There are few
// for each, so that many rules differ in one only.
var conditions = [...][]string{
	{"-s 10.0.0.0/32", "-s 10.0.0.1/32", "-s 10.0.0.2/31", "! -s 10.0.0.0/30", "-s 0.0.0.0/1", "-s 128.0.0.0/1"},
	{"-d 10.0.0.0/32", "-d 10.0.0.1/32", "-d 10.0.0.2/31", "! -d 10.0.0.0/30", "-d 0.0.0.0/1", "-d 128.0.0.0/1"},
	{"-i lo", "-i eth+", "-i eti+", "! -i eth0", "-o lo", "-o eth+", "! -o eth0"},
	{"-p tcp", "-p udp", "! -p tcp", "-p tcp -m tcp --dport 1", "-p tcp -m tcp --dport 2:4", "-p tcp -m tcp ! --dport 3",
		"-p tcp -m tcp --sport 1 --dport 2", "-p tcp -m tcp --sport 1 ! --dport 2", "-p tcp -m multiport --dports 1,3:5",
		"-p tcp -m multiport ! --dports 1,2", "-p tcp -m multiport --ports 1,2", "-p udp -m udp --dport 65530:65535"},
	{"-m owner --uid-owner 1", "-m owner ! --uid-owner 1", "-m owner --uid-owner 2-3", "-m owner --gid-owner 1",
		"-m owner ! --gid-owner 1", "-m owner ! --uid-owner 1 ! --gid-owner 2", "-m owner --uid-owner 1 ! --gid-owner 2",
		"-m owner ! --uid-owner 1 -m owner ! --uid-owner 3"},
	{"-m conntrack --ctstate NEW", "-m conntrack ! --ctstate NEW,RELATED", "-m conntrack --ctstate ESTABLISHED"},
	{"-m mark --mark 0x0", "-m mark --mark 0x1", "-m mark ! --mark 0x1", "-m mark --mark 0x1/0x3"},
}

// randomRuleset returns a table with three chains, each of which can jump to those
// after it. What falls through them gets a mark, by which it is told from what is
// accepted. The chains are short: each negated owner splits one, and nf_tables does not
// nest more than 16.
func randomRuleset(t *testing.T, random *rand.Rand) iptables.Ruleset {
	t.Helper()
	chains := []string{"ISTIO_A", "ISTIO_B", "ISTIO_C"}
	text := "*mangle\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:ISTIO_A -\n:ISTIO_B -\n:ISTIO_C -\n:ISTIO_END -\n" +
		"-A PREROUTING -j ISTIO_A\n-A PREROUTING -j ISTIO_END\n-A OUTPUT -j ISTIO_A\n-A OUTPUT -j ISTIO_END\n" +
		"-A ISTIO_END -j MARK --set-xmark 0x80/0x80\n"
	for i, chain := range chains {
		var rules []randomRule
		for range 1 + random.IntN(6) {
			r := newRule(random, chains[i+1:])
			if len(rules) > 0 && random.IntN(3) > 0 {
				r = oneOf(random, rules).changed(random)
			}
			rules = append(rules, r)
			text += "-A " + chain + " " + strings.Join(append(r.conditions[:], r.target), " ") + "\n"
		}
	}
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text+"COMMIT\n"))
	rs := iptables.Ruleset{Tables: tables}
	if err == nil {
		err = rs.Validate()
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return rs
}

// randomRule is one rule in words. Most differ in one part only from another one of
// their chain.
type randomRule struct {
	conditions [len(conditions)]string
	target     string
}

func newRule(random *rand.Rand, chains []string) randomRule {
	r := randomRule{target: randomTarget(random, chains)}
	for part, words := range conditions {
		if random.IntN(4) == 0 {
			r.conditions[part] = oneOf(random, words)
		}
	}
	return r
}

func (r randomRule) changed(random *rand.Rand) randomRule {
	part := random.IntN(len(conditions))
	r.conditions[part] = oneOf(random, conditions[part])
	return r
}

func randomTarget(random *rand.Rand, chains []string) string {
	targets := []string{
		"-j RETURN", "-j RETURN", "-j ACCEPT", "-j DROP", "",
		"-j MARK --set-xmark 0x1/0x0", "-j MARK --set-xmark 0x1/0xffffffff", "-j MARK --set-xmark 0x0/0x3",
		"-j TPROXY --on-port 1 --on-ip 0.0.0.0 --tproxy-mark 0x4/0x4",
	}
	for _, c := range chains {
		targets = append(targets, "-j "+c, "-j "+c, "-g "+c)
	}
	return oneOf(random, targets)
}

func oneOf[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }
