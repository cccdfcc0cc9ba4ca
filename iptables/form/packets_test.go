package form_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// Every packet at and around the constants of a plan fares in both forms as by a rule for
// each value.
func TestPacketsFareAsPlanned(t *testing.T) {
	t.Run("recorded", func(t *testing.T) {
		for i, c := range recorded.Cases(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, c.Config(t).Plan(c.Host()).Rules, uint64(i), 2000)
			})
		}
	})
	t.Run("made up", func(t *testing.T) {
		for seed := range uint64(soak.Times(100, 1000)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, plantest.Random(seed), seed, 300)
			})
		}
	})
	t.Run("recorded, ambient", func(t *testing.T) {
		for i, c := range recorded.AmbientPods(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, c.Config(t).Plan(c.Host()).Rules, uint64(i), 2000)
			})
		}
	})
	t.Run("made up, ambient", func(t *testing.T) {
		for seed := range uint64(soak.Times(200, 1000)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, plantest.Ambient(seed).Plan(host.Host{}).Rules, seed, 300)
			})
		}
	})
	t.Run("recorded, Linkerd", func(t *testing.T) {
		for i, c := range recorded.LinkerdCases(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, c.Config(t).Plan(c.Host()).Rules, uint64(i), 2000)
			})
		}
	})
	t.Run("made up, Linkerd", func(t *testing.T) {
		for seed := range uint64(soak.Times(100, 1000)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, plantest.Linkerd(seed).Plan(host.Host{}).Rules, seed, 300)
			})
		}
	})
	t.Run("of no policy", func(t *testing.T) {
		for seed := range uint64(soak.Times(400, 2000)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, randomPlan(rand.New(rand.NewPCG(3, seed))), seed, 300)
			})
		}
	})
}

func faresAsPlanned(t *testing.T, plan iptables.Plan, seed uint64, packets int) {
	plan.Comments = false
	if err := plan.Validate(); err != nil {
		t.Fatal(err)
	}
	planned := oneByOne(plan)
	forms := map[string]iptables.Ruleset{"iptables": form.IPTables(plan), "native": form.Native(plan)}
	for name, rs := range forms {
		if err := rs.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, f := range plan.Families {
		values := packettest.ValuesOf(f, &planned)
		random := rand.New(rand.NewPCG(20261120, seed))
		for range packets {
			p := values.Packet(random)
			want := walk(t, planned, p)
			for name, rs := range forms {
				if got := walk(t, rs, p); packettest.Fate(got) != packettest.Fate(want) {
					t.Fatalf("%+v (owner %+v)\nplanned: %s\n%s%s: %s\n%s\n%s", p, p.Owner,
						packettest.Fate(want), packettest.Path(want), name, packettest.Fate(got), packettest.Path(got), rs.Save(f))
				}
			}
		}
	}
}

// oneByOne returns the rules that a plan stands for: one for each value of a list, those
// of a group in turn, and of a negated list one that asks for all values.
func oneByOne(plan iptables.Plan) iptables.Ruleset {
	var rs iptables.Ruleset
	for _, f := range plan.Families {
		for _, planned := range plan.Tables {
			t := iptables.NewTable(f, planned.Name)
			for _, c := range planned.Chains {
				t.Append(c.Name)
				for i, r := range c.Rules {
					if r.Beside {
						continue
					}
					group := 1
					for i+group < len(c.Rules) && c.Rules[i+group].Beside {
						group++
					}
					for _, one := range inTurn(c.Rules[i:i+group], f) {
						t.Append(c.Name, one)
					}
				}
			}
			rs.Tables = append(rs.Tables, t)
		}
	}
	return rs
}

func inTurn(group []iptables.PlannedRule, f iptables.Family) []iptables.Rule {
	var all []iptables.Rule
	lists := group[0].Lists()
	if len(group) == 1 {
		if group[0].IsFor(f) {
			all = combined(forFamily(group[0].Rule, f), len(lists) > 0 && lists[0].Not)
		}
		return all
	}
	for i := range lists[0].Given {
		for _, r := range group {
			if r.IsFor(f) {
				all = append(all, withSingle(forFamily(r.Rule, f), i))
			}
		}
	}
	return all
}

func forFamily(r iptables.Rule, f iptables.Family) iptables.Rule {
	if t, ok := r.Target.(iptables.TProxy); ok {
		t.IP = f.Unspecified()
		r.Target = t
	}
	return r
}

// combined returns a rule for each combination of values of the lists in a rule.
func combined(r iptables.Rule, not bool) []iptables.Rule {
	at := slices.IndexFunc(r.Matches, isList)
	if at < 0 {
		return []iptables.Rule{r}
	}
	list := r.Matches[at].(iptables.List)
	if not {
		var all []iptables.Match
		for i := range list.Given {
			all = append(all, withSingle(r, i).Matches[at])
		}
		r.Matches = slices.Replace(slices.Clone(r.Matches), at, at+1, all...)
		return []iptables.Rule{r}
	}
	var all []iptables.Rule
	for i := range list.Given {
		all = append(all, combined(withSingle(r, i), false)...)
	}
	return all
}

func isList(m iptables.Match) bool { _, ok := m.(iptables.List); return ok }

// withSingle has a set of one value in the place of a rule's first list; that of ids says
// of packets without an owner what iptables says.
func withSingle(r iptables.Rule, i int) iptables.Rule {
	at := slices.IndexFunc(r.Matches, isList)
	list := r.Matches[at].(iptables.List)
	r.Matches = slices.Clone(r.Matches)
	first, last := uint32(0), uint32(0)
	if list.Field == iptables.OwnerUID || list.Field == iptables.OwnerGID {
		first, last = list.Given[i].IDs()
	}
	id := iptables.IDMatch{First: first, Last: last, Not: list.Not, Set: true}
	switch list.Field {
	case iptables.OwnerUID:
		r.Matches[at] = iptables.Owner{UID: id}
	case iptables.OwnerGID:
		r.Matches[at] = iptables.Owner{GID: id}
	default:
		r.Matches[at] = iptables.Set{Field: list.Field, Not: list.Not, Elements: list.Given[i : i+1]}
	}
	return r
}

func walk(t *testing.T, rs iptables.Ruleset, p iptables.Packet) explain.Result {
	t.Helper()
	r := explain.Walk(&rs, p)
	if r.Verdict == explain.Unknown {
		t.Fatal(r.Doubt)
	}
	return r
}

// randomPlan returns a plan that no policy would make, of both families: lists of each
// field, also negated ones of owners, alone, two in a rule or in a group.
func randomPlan(random *rand.Rand) iptables.Plan {
	p := iptables.Plan{Families: iptables.Families()}
	t := p.Table(iptables.Nat)
	t.Append("ISTIO_B", iptables.PlannedRule{Rule: iptables.Rule{
		Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Target: iptables.Redirect{Ports: iptables.Port(1)},
	}})
	for range 2 + random.IntN(6) {
		t.Append("ISTIO_A", randomRules(random)...)
	}
	t.Append("ISTIO_A", iptables.PlannedRule{Rule: iptables.Rule{
		Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Target: iptables.Redirect{Ports: iptables.Port(2)},
	}})
	for _, hook := range []string{iptables.Prerouting, iptables.Output} {
		t.Append(hook, iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_A"}}})
	}
	return p
}

func randomRules(random *rand.Rand) []iptables.PlannedRule {
	targets := []iptables.Target{iptables.Return, iptables.Accept, iptables.Jump{Chain: "ISTIO_B"}}
	rule := func(lists ...iptables.List) iptables.PlannedRule {
		r := iptables.PlannedRule{Rule: iptables.Rule{Target: targets[random.IntN(len(targets))]}}
		for _, l := range lists {
			if l.Field == iptables.DestinationPort {
				r.Protocol.Protocol = []iptables.Protocol{iptables.TCP, iptables.UDP}[random.IntN(2)]
			}
			if l.Field == iptables.SourceAddress {
				r.Family = iptables.FamilyOf(addressOf(l))
			}
			r.Matches = append(r.Matches, l)
		}
		if r.Family == 0 && random.IntN(5) == 0 {
			r.Family = iptables.Families()[random.IntN(2)]
		}
		hasOut := slices.ContainsFunc(lists, func(l iptables.List) bool { return l.Field == iptables.OutInterface })
		if !hasOut && random.IntN(3) == 0 {
			r.Out.Name = "lo"
		}
		return r
	}
	list := randomList(random)
	switch random.IntN(4) {
	case 0:
		list.Field, list.Not = iptables.OwnerGID, true
		list.Given = randomIDs(random)
		return []iptables.PlannedRule{rule(list)}
	case 1:
		if other := randomList(random); other.Field != list.Field {
			return []iptables.PlannedRule{rule(list, other)}
		}
	case 2:
		return iptables.Each(rule(list), rule(list), rule(list))
	}
	return []iptables.PlannedRule{rule(list)}
}

func addressOf(l iptables.List) netip.Addr {
	p, _ := l.Given[0].Prefix()
	return p.Addr()
}

func randomList(random *rand.Rand) iptables.List {
	switch random.IntN(4) {
	case 0:
		return iptables.List{Field: iptables.OwnerUID, Given: randomIDs(random)}
	case 1:
		return iptables.List{Field: iptables.SourceAddress, Given: randomPrefixes(random)}
	case 2:
		return iptables.List{Field: iptables.OutInterface, Given: randomInterfaces(random)}
	}
	return iptables.List{Field: iptables.DestinationPort, Given: randomPorts(random), Grouped: random.IntN(4) == 0}
}

func randomIDs(random *rand.Rand) []iptables.Interval {
	ids := make([]iptables.Interval, 1+random.IntN(4))
	for i := range ids {
		first := 1000 + random.Uint32N(6)
		ids[i] = iptables.IDInterval(first, first+random.Uint32N(2))
	}
	return ids
}

func randomPrefixes(random *rand.Rand) []iptables.Interval {
	bits, prefix := 24, "10.0.%d.0"
	if random.IntN(2) == 0 {
		bits, prefix = 48, "fd00:0:%d::"
	}
	prefixes := make([]iptables.Interval, 1+random.IntN(4))
	for i := range prefixes {
		a := netip.MustParseAddr(fmt.Sprintf(prefix, random.IntN(6)))
		prefixes[i] = iptables.PrefixInterval(netip.PrefixFrom(a, bits-random.IntN(2)).Masked())
	}
	return prefixes
}

func randomInterfaces(random *rand.Rand) []iptables.Interval {
	names := []string{"lo", "eth0", "eth+", "tap1+", "tap2+"}
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var all []iptables.Interval
	for _, name := range names[:1+random.IntN(4)] {
		all = append(all, iptables.InterfaceInterval(name))
	}
	return all
}

func randomPorts(random *rand.Rand) []iptables.Interval {
	ports := make([]iptables.Interval, 1+random.IntN(2*form.LongList))
	for i := range ports {
		first := uint16(1000 + random.UintN(100))
		ports[i] = iptables.PortInterval(iptables.PortRange{First: first, Last: first + uint16(random.UintN(2))})
	}
	return ports
}
