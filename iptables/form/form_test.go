package form_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
)

// ruleOf returns a rule of an option that returns what lists have.
func ruleOf(lists ...iptables.List) iptables.PlannedRule {
	r := iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Return, Origin: iptables.Origin{Option: "--list"}}}
	for _, l := range lists {
		if l.Field == iptables.DestinationPort {
			r.Protocol.Protocol = iptables.TCP
		}
		r.Matches = append(r.Matches, l)
	}
	return r
}

func udp(r iptables.PlannedRule) iptables.PlannedRule {
	r.Protocol.Protocol = iptables.UDP
	return r
}

func needed(n iptables.Need, r iptables.PlannedRule) iptables.PlannedRule {
	r.Needed = n
	return r
}

func ports(words ...string) iptables.List {
	l := iptables.List{Field: iptables.DestinationPort}
	for _, word := range words {
		p, err := iptables.ParsePortRange(word)
		if err != nil {
			panic(err)
		}
		l.Given = append(l.Given, iptables.PortInterval(p))
	}
	return l
}

func prefixes(words ...string) iptables.List {
	l := iptables.List{Field: iptables.DestinationAddress}
	for _, word := range words {
		l.Given = append(l.Given, iptables.PrefixInterval(netip.MustParsePrefix(word)))
	}
	return l
}

func interfaces(f iptables.SetField, names ...string) iptables.List {
	l := iptables.List{Field: f}
	for _, name := range names {
		l.Given = append(l.Given, iptables.InterfaceInterval(name))
	}
	return l
}

func ids(f iptables.SetField, not bool, numbers ...uint32) iptables.List {
	l := iptables.List{Field: f, Not: not}
	for _, n := range numbers {
		l.Given = append(l.Given, iptables.IDInterval(n, n))
	}
	return l
}

// planOf returns a plan for IPv4 with these rules, and the jump to them.
func planOf(rules ...iptables.PlannedRule) iptables.Plan {
	p := iptables.Plan{Families: []iptables.Family{iptables.IPv4}}
	t := p.Table(iptables.Nat)
	t.Append(iptables.Output, iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_A"}}})
	t.Append("ISTIO_A", rules...)
	return p
}

// linesOf returns the rules of ISTIO_A and what it was split into, with their origins.
func linesOf(rs iptables.Ruleset) []string {
	var lines []string
	for _, c := range rs.Tables[0].Chains {
		for _, r := range c.Rules {
			if name, ok := strings.CutPrefix(c.Name, "ISTIO_A"); ok {
				text := fmt.Sprintf("%s %s # %s", name, r, r.Origin.Value)
				lines = append(lines, strings.TrimSpace(text))
			}
		}
	}
	return lines
}

func TestForms(t *testing.T) {
	for name, test := range map[string]struct {
		rules            []iptables.PlannedRule
		iptables, native []string
	}{
		"ports that repeat, overlap and touch, in the order given": {
			[]iptables.PlannedRule{ruleOf(ports("90:95", "80", "81", "80", "94:99"))},
			[]string{"-p tcp -m tcp --dport 90:95 -j RETURN # 90:95", "-p tcp -m tcp --dport 80 -j RETURN # 80",
				"-p tcp -m tcp --dport 81 -j RETURN # 81", "-p tcp -m tcp --dport 80 -j RETURN # 80", "-p tcp -m tcp --dport 94:99 -j RETURN # 94:99"},
			[]string{"-p tcp --dport {80:81,90:99} -j RETURN # 90:95,80,81,80,94:99"},
		},
		"ports of two protocols in turn": {
			iptables.Each(ruleOf(ports("80", "443")), udp(ruleOf(ports("80", "443")))),
			[]string{"-p tcp -m tcp --dport 80 -j RETURN # 80", "-p udp -m udp --dport 80 -j RETURN # 80",
				"-p tcp -m tcp --dport 443 -j RETURN # 443", "-p udp -m udp --dport 443 -j RETURN # 443"},
			[]string{"-p tcp --dport {80,443} -j RETURN # 80,443", "-p udp --dport {80,443} -j RETURN # 80,443"},
		},
		"ports that the plan wants grouped": {
			[]iptables.PlannedRule{ruleOf(iptables.List{Field: iptables.DestinationPort, Given: ports("443", "80", "8000:8010").Given, Grouped: true})},
			[]string{"-p tcp -m multiport --dports 443,80,8000:8010 -j RETURN # 443,80,8000:8010"},
			[]string{"-p tcp --dport {80,443,8000:8010} -j RETURN # 443,80,8000:8010"},
		},
		"a match that asks for no port": {
			[]iptables.PlannedRule{{Rule: iptables.Rule{
				Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Matches: []iptables.Match{iptables.Ports{Protocol: iptables.TCP}}, Target: iptables.Accept,
			}}},
			[]string{"-p tcp -m tcp -j ACCEPT #"},
			[]string{"-p tcp -j ACCEPT #"},
		},
		"prefixes that overlap and touch": {
			[]iptables.PlannedRule{ruleOf(prefixes("10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"))},
			[]string{"-d 10.0.0.0/9 -j RETURN # 10.0.0.0/9", "-d 10.128.0.0/9 -j RETURN # 10.128.0.0/9", "-d 10.1.0.0/16 -j RETURN # 10.1.0.0/16"},
			[]string{"-d 10.0.0.0/8 -j RETURN # 10.0.0.0/9,10.128.0.0/9,10.1.0.0/16"},
		},
		"all addresses": {
			[]iptables.PlannedRule{ruleOf(prefixes("10.0.0.0/9", "0.0.0.0/0"))},
			[]string{"-d 10.0.0.0/9 -j RETURN # 10.0.0.0/9", "-j RETURN # 0.0.0.0/0"},
			[]string{"-j RETURN # 10.0.0.0/9,0.0.0.0/0"},
		},
		"wildcards that touch": {
			[]iptables.PlannedRule{ruleOf(interfaces(iptables.OutInterface, "veth1+", "veth0+", "veth0a"))},
			[]string{"-o veth1+ -j RETURN # veth1+", "-o veth0+ -j RETURN # veth0+", "-o veth0a -j RETURN # veth0a"},
			[]string{"-o {veth0+,veth1+} -j RETURN # veth1+,veth0+,veth0a"},
		},
		"every interface": {
			[]iptables.PlannedRule{ruleOf(interfaces(iptables.OutInterface, "eth0", "+"))},
			[]string{"-o eth0 -j RETURN # eth0", "-j RETURN # +"},
			[]string{"-j RETURN # eth0,+"},
		},
		"two lists": {
			[]iptables.PlannedRule{ruleOf(interfaces(iptables.InInterface, "tap0", "tap1"), prefixes("10.0.0.0/8", "10.64.0.0/16"))},
			[]string{"-d 10.0.0.0/8 -i tap0 -j RETURN # tap0", "-d 10.64.0.0/16 -i tap0 -j RETURN # tap0",
				"-d 10.0.0.0/8 -i tap1 -j RETURN # tap1", "-d 10.64.0.0/16 -i tap1 -j RETURN # tap1"},
			[]string{"-d 10.0.0.0/8 -i {tap0,tap1} -j RETURN # tap0,tap1"},
		},
		"items that are more than their values": {
			[]iptables.PlannedRule{ruleOf(iptables.List{Field: iptables.OwnerUID, Given: ids("", false, 1, 2).Given, Names: []string{"udp:1", "udp:2"}})},
			[]string{"-m owner --uid-owner 1 -j RETURN # udp:1", "-m owner --uid-owner 2 -j RETURN # udp:2"},
			[]string{"-m owner --uid-owner 1-2 -j RETURN # udp:1,udp:2"},
		},
		"rules that only the first value needs, or none": {
			iptables.Each(needed(iptables.ForFirst, ruleOf(ids(iptables.OwnerUID, false, 1, 3))),
				needed(iptables.ForNone, udp(ruleOf(ids(iptables.OwnerUID, false, 1, 3))))),
			[]string{"-m owner --uid-owner 1 -j RETURN # 1", "-p udp -m owner --uid-owner 1 -j RETURN # 1",
				"-m owner --uid-owner 3 -j RETURN # 3", "-p udp -m owner --uid-owner 3 -j RETURN # 3"},
			[]string{"-m owner --uid-owner 1 -j RETURN # 1"},
		},
		"a match that decides nothing": {
			iptables.Each(ruleOf(iptables.List{Field: iptables.OwnerUID, Not: true, Given: ids("", false, 1).Given, Implied: true}),
				ruleOf(ids(iptables.OwnerUID, false, 1))),
			[]string{"-m owner ! --uid-owner 1 -j RETURN # 1", "-m owner --uid-owner 1 -j RETURN # 1"},
			[]string{"-j RETURN # 1", "-m owner --uid-owner 1 -j RETURN # 1"},
		},
		"from no group of a list": {
			[]iptables.PlannedRule{ruleOf(ids(iptables.OwnerGID, true, 1, 3)), ruleOf(ports("80"))},
			[]string{"-m owner ! --gid-owner 1 -m owner ! --gid-owner 3 -j RETURN # 1,3", "-p tcp -m tcp --dport 80 -j RETURN # 80"},
			[]string{"--gid-owner {1,3} -g ISTIO_A_2 # 1,3", "-j RETURN # 1,3", "_2 -p tcp -m tcp --dport 80 -j RETURN # 80"},
		},
		"from no group of a list, to some ports": {
			[]iptables.PlannedRule{ruleOf(ports("80", "81"), ids(iptables.OwnerGID, true, 1)), ruleOf(ports("90"))},
			[]string{"-p tcp -m tcp --dport 80 -m owner ! --gid-owner 1 -j RETURN # 80", "-p tcp -m tcp --dport 81 -m owner ! --gid-owner 1 -j RETURN # 81",
				"-p tcp -m tcp --dport 90 -j RETURN # 90"},
			[]string{"-p tcp -m tcp --dport 80:81 -g ISTIO_A_2 # 80,81", "-g ISTIO_A_3 # 80,81",
				"_2 -m owner --gid-owner 1 -g ISTIO_A_3 # 80,81", "_2 -j RETURN # 80,81", "_3 -p tcp -m tcp --dport 90 -j RETURN # 90"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planOf(test.rules...)
			if diff := cmp.Diff(test.iptables, linesOf(form.IPTables(plan))); diff != "" {
				t.Errorf("iptables, want (-), got (+):\n%s", diff)
			}
			if diff := cmp.Diff(test.native, linesOf(form.Native(plan))); diff != "" {
				t.Errorf("native, want (-), got (+):\n%s", diff)
			}
		})
	}
}

// numbers returns ports with a gap after each.
func numbers(n int) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprint(2 * (i + 1))
	}
	return words
}

// Of more than LongList values, up to 15 are a rule, a range counting for two; those of a
// group come rule by rule.
func TestLongLists(t *testing.T) {
	list := ports(append(numbers(form.LongList), "70:75")...)
	got := linesOf(form.IPTables(planOf(iptables.Each(ruleOf(list), udp(ruleOf(list)))...)))
	var want []string
	for _, proto := range []string{"tcp", "udp"} {
		want = append(want,
			"-p "+proto+" -m multiport --dports 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 -j RETURN # 2,4,6,8,10,12,14,16,... (15 values)",
			"-p "+proto+" -m multiport --dports 32,34,36,38,40,42,44,46,48,50,52,54,56,58,60 -j RETURN # 32,34,36,38,40,42,44,46,... (15 values)",
			"-p "+proto+" -m multiport --dports 62,64,70:75 -j RETURN # 62,64,70:75")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	short := form.IPTables(planOf(ruleOf(ports(numbers(form.LongList)...))))
	if n := len(linesOf(short)); n != form.LongList {
		t.Errorf("%d rules for a list of %d", n, form.LongList)
	}
}

// What was grouped is written the same way again when it is taken apart: also a list that
// is long by values that repeat, overlap or touch.
func TestUngroup(t *testing.T) {
	for name, words := range map[string][]string{
		"long":        numbers(100),
		"repeating":   slices.Repeat([]string{"80", "443"}, 20),
		"overlapping": slices.Repeat([]string{"80:90", "85:95", "443"}, 12),
		"touching":    append(slices.Repeat([]string{"90", "91"}, 5), numbers(form.LongList-5)...),
	} {
		t.Run(name, func(t *testing.T) {
			grouped := form.IPTables(planOf(ruleOf(ports(words...))))
			chain := grouped.Tables[0].Chain("ISTIO_A")
			single := form.Ungroup(chain.Rules)
			var again []string
			for _, r := range single {
				values, _, ok := r.Values(iptables.DestinationPort)
				if !ok || len(values) != 1 {
					t.Fatalf("rule %s has ports %v", r, values)
				}
				again = append(again, values[0].Text(iptables.DestinationPort))
			}
			if diff := cmp.Diff(linesOf(grouped), linesOf(form.IPTables(planOf(ruleOf(ports(again...)))))); diff != "" {
				t.Errorf("grouped (-), grouped again (+):\n%s", diff)
			}
		})
	}
}

// A rule without a family is one for both in the native form, and one for each in that of
// iptables. A chain without rules for a family is none of that family's.
func TestFamilies(t *testing.T) {
	p := planOf(ruleOf(ports("80")))
	p.Families = iptables.Families()
	only := ruleOf(prefixes("10.0.0.0/8"))
	only.Family = iptables.IPv4
	p.Table(iptables.Nat).Append("ISTIO_A", only)
	jump := iptables.PlannedRule{Family: iptables.IPv4, Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_B"}}}
	p.Table(iptables.Nat).Append("ISTIO_A", jump)
	p.Table(iptables.Nat).Append("ISTIO_B", only)

	for name, rs := range map[string]iptables.Ruleset{"iptables": form.IPTables(p), "native": form.Native(p)} {
		v4, v6 := rs.Table(iptables.IPv4, iptables.Nat), rs.Table(iptables.IPv6, iptables.Nat)
		if n := len(v4.Chain("ISTIO_A").Rules); n != 3 {
			t.Errorf("%s: %d rules for IPv4", name, n)
		}
		if n := len(v6.Chain("ISTIO_A").Rules); n != 1 || v6.Chain("ISTIO_B") != nil {
			t.Errorf("%s: %d rules for IPv6, chain ISTIO_B: %v", name, n, v6.Chain("ISTIO_B"))
		}
		for i, r := range v4.Chain("ISTIO_A").Rules {
			if want := name == "native" && i == 0; r.Shared != want {
				t.Errorf("%s: rule %d shared: %v", name, i+1, r.Shared)
			}
		}
	}
}

func TestComments(t *testing.T) {
	p := planOf(ruleOf(ports("80", "443")))
	p.Comments = true
	commented := form.IPTables(p)
	want := []string{
		"-p tcp -m tcp --dport 80 -m comment --comment \"--list=80\" -j RETURN # 80",
		"-p tcp -m tcp --dport 443 -m comment --comment \"--list=443\" -j RETURN # 443",
	}
	if diff := cmp.Diff(want, linesOf(commented)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if native := form.Native(p); native.HasComments() {
		t.Error("the native form has comments in its rules")
	}
}
