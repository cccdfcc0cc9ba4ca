package sidecar_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Where a packet does not come to rules that are there, no option is to blame for it.
func TestReasonsOfUnreachedRules(t *testing.T) {
	withoutJump := func(hook string) func(*iptables.Ruleset) {
		return func(rs *iptables.Ruleset) {
			c := rs.Table(iptables.IPv4, iptables.Nat).Chain(hook)
			c.Rules = slices.DeleteFunc(c.Rules, sidecar.Ownership().OwnsJump)
		}
	}
	// What is attached elsewhere has no built-in chain of that name.
	unattached := func(rs *iptables.Ruleset) {
		nat := rs.Table(iptables.IPv4, iptables.Nat)
		nat.Chains = slices.DeleteFunc(nat.Chains, func(c iptables.Chain) bool { return c.Name == iptables.Output })
	}
	emptied := func(chain string) func(*iptables.Ruleset) {
		return func(rs *iptables.Ruleset) { rs.Table(iptables.IPv4, iptables.Nat).Chain(chain).Rules = nil }
	}
	nothing := func(hook string) string {
		return fmt.Sprintf("no rule in %s sends it to the rules of meshtables / apply again", hook)
	}
	altered := func(option string) string {
		return fmt.Sprintf("somebody changed the rules of %s: as meshtables writes them, they capture it / apply again", option)
	}
	for name, test := range map[string]struct {
		packet iptables.Packet
		args   string
		edit   func(*iptables.Ruleset)
		want   string
	}{
		"no jump out":       {packet(), "", withoutJump(iptables.Output), nothing("OUTPUT")},
		"no chain out":      {packet(), "-i 10.0.0.0/8", unattached, nothing("OUTPUT")},
		"no jump in":        {inbound(), "", withoutJump(iptables.Prerouting), nothing("PREROUTING")},
		"no jump, port":     {inbound(), "-b 80,443", withoutJump(iptables.Prerouting), nothing("PREROUTING")},
		"no jump, machines": {inbound(), "-k tap0", withoutJump(iptables.Prerouting), nothing("PREROUTING")},
		"no jump, DNS":      {query("10.96.0.10"), "--redirect-dns", withoutJump(iptables.Output), nothing("OUTPUT")},
		"no target":         {packet(), "-q 443 -i 10.0.0.0/8", emptied("ISTIO_REDIRECT"), altered("--included-cidrs=10.0.0.0/8")},
		"no target, all":    {packet(), "", emptied("ISTIO_REDIRECT"), altered("--included-cidrs=*")},
		"no target, port":   {packet(), "-q 80 -i 10.1.0.0/16", emptied("ISTIO_REDIRECT"), altered("--included-outbound-ports=80")},
		"no target in":      {inbound(), "", emptied("ISTIO_IN_REDIRECT"), altered("--included-ports=*")},
		"no target, ports":  {inbound(), "-b 80,443", emptied("ISTIO_IN_REDIRECT"), altered("--included-ports=80,443")},
		"nothing in":        {inbound(), "--included-ports=", withoutJump(iptables.Output), "no inbound port is captured: --included-ports is empty / add 80 to --included-ports, or set it to *"},
		"no DNS":            {query("8.8.8.8"), "", withoutJump(iptables.Output), "DNS is not captured: --redirect-dns is not set / set --redirect-dns, and --capture-all-dns too unless resolv.conf names 8.8.8.8"},
	} {
		t.Run(name, func(t *testing.T) {
			for form, of := range forms {
				rules := of(plan(t, strings.Fields(test.args)...))
				test.edit(&rules)
				if diff := cmp.Diff(test.want, policytest.Reasons(sidecar.Policy{}, rules, test.packet)); diff != "" {
					t.Errorf("%s: %s", form, diff)
				}
			}
		})
	}
}

// Nobody is told to apply rules again that are as they were applied.
func TestReasonsOfRulesAsApplied(t *testing.T) {
	toLoopback, byLoopback := packet(), inbound()
	toLoopback.Destination, byLoopback.Destination = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")
	packets := []iptables.Packet{packet(), inbound(), toLoopback, byLoopback, query("10.96.0.10"), query("8.8.8.8")}
	bypassed := 0
	for _, c := range recorded.Cases(t) {
		applied := map[string]iptables.Ruleset{"reference": sidecar.Recognise(c.Ruleset(t), form.IPTables).Rules}
		for form, of := range forms {
			applied[form] = of(c.Config(t).Plan(c.Host()).Rules)
		}
		for form, rules := range applied {
			for _, p := range packets {
				told := policytest.Reasons(sidecar.Policy{}, rules, p)
				if told != "" {
					bypassed++
				}
				if strings.HasSuffix(told, "/ apply again") {
					t.Errorf("%s, %s: %+v: %s", c.Name, form, p, told)
				}
			}
		}
	}
	if bypassed == 0 {
		t.Error("no packet bypasses the proxy")
	}
}

// Rules of others are to blame only if ours alone would capture the packet.
func TestReasonsOfForeignChains(t *testing.T) {
	output := func(args string, rule iptables.Rule, other ...iptables.Rule) iptables.Ruleset {
		rules := form.IPTables(plan(t, strings.Fields(args)...))
		nat := rules.Table(iptables.IPv4, iptables.Nat)
		c := nat.Chain(iptables.Output)
		c.Rules = slices.Insert(c.Rules, 0, rule)
		nat.Append("OTHER", other...)
		return rules
	}
	tcp := iptables.ProtocolMatch{Protocol: iptables.TCP}
	away := iptables.Rule{Protocol: tcp, Target: iptables.Goto{Chain: "OTHER"}}
	back := iptables.Rule{Target: iptables.Jump{Chain: "OTHER"}}
	const others = "it is exempted by foreign rule 1 of nat OUTPUT: -p tcp -g OTHER / take it away (iptables -t nat -D OUTPUT 1), or have its author exempt less"
	const ours = "destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16 / add 10.0.0.2 to --included-cidrs, or 80 to --included-outbound-ports"
	for name, test := range map[string]struct {
		rules iptables.Ruleset
		want  string
	}{
		"goes away":           {output("", away), others},
		"goes away, excluded": {output("-i 10.1.0.0/16", away), ours},
		"comes back":          {output("-i 10.1.0.0/16", back, iptables.Rule{Target: iptables.Return}), ours},
	} {
		if diff := cmp.Diff(test.want, policytest.Reasons(sidecar.Policy{}, test.rules, packet())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
