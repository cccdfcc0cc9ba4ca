package iptables_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

func ports(first, last uint16) iptables.Interval {
	return iptables.PortInterval(iptables.PortRange{First: first, Last: last})
}

func address(s string) iptables.Interval { return iptables.PrefixInterval(netip.MustParsePrefix(s)) }

// modulo is a number that packets do not have.
func modulo(n uint32, chance bool) iptables.Key {
	return iptables.Key{Size: 4, Possible: iptables.IDInterval(0, n-1), Chance: chance}
}

var (
	destination     = iptables.Key{Field: iptables.Field(iptables.DestinationAddress), Size: 4}
	destinationPort = iptables.Key{Field: iptables.Field(iptables.DestinationPort), Size: 2}
	destinationType = iptables.Key{Field: iptables.FieldDestinationType, Size: 4}
)

func toWeb() iptables.Packet {
	return iptables.Packet{
		Protocol: iptables.TCP, State: iptables.StateNew, Source: netip.MustParseAddr("10.0.0.1"),
		Destination: netip.MustParseAddr("10.0.0.2"), DestinationPort: 80, Mark: 0x12,
	}
}

// Values are compared as far as they are known, each with its key.
func TestComparison(t *testing.T) {
	t.Parallel()
	id := iptables.IDInterval
	local, multicast := id(2, 2), id(5, 5)
	for name, test := range map[string]struct {
		keys     []iptables.Key
		elements []iptables.Element
		met, not string // of the comparison and its negation: "yes", "no" or "doubt"
	}{
		"one of both":           {[]iptables.Key{destination, destinationPort}, []iptables.Element{{address("10.0.0.0/8"), ports(80, 90)}}, "yes", "no"},
		"exactly":               {[]iptables.Key{destination, destinationPort}, []iptables.Element{{address("10.0.0.2/32"), ports(80, 80)}}, "yes", "no"},
		"each of another":       {[]iptables.Key{destination, destinationPort}, []iptables.Element{{address("10.0.0.2/32"), ports(81, 81)}, {address("10.0.0.3/32"), ports(80, 80)}}, "no", "yes"},
		"none":                  {[]iptables.Key{destination}, nil, "no", "yes"},
		"unknown":               {[]iptables.Key{destinationType}, []iptables.Element{{local}}, "doubt", "doubt"},
		"unknown does not help": {[]iptables.Key{destinationType, destinationPort}, []iptables.Element{{local, ports(81, 81)}}, "no", "yes"},
		"unknown decides":       {[]iptables.Key{destinationType, destinationPort}, []iptables.Element{{local, ports(80, 80)}, {multicast, ports(81, 81)}}, "doubt", "doubt"},
		"every number":          {[]iptables.Key{modulo(2, true)}, []iptables.Element{{id(0, 0)}, {id(1, 1)}}, "yes", "no"},
		"no number":             {[]iptables.Key{modulo(2, true)}, []iptables.Element{{id(2, 9)}}, "no", "yes"},
		"some number":           {[]iptables.Key{modulo(3, true)}, []iptables.Element{{id(0, 1)}}, "doubt", "doubt"},
		"no owner":              {[]iptables.Key{{Field: iptables.Field(iptables.OwnerUID), Size: 4}}, []iptables.Element{{id(0, 0)}}, "no", "no"},
		"masked":                {[]iptables.Key{{Field: iptables.FieldMark, Size: 4, Mask: "\x00\x00\x00\x0f", Xor: "\x00\x00\x00\x01"}}, []iptables.Element{{id(3, 3)}}, "yes", "no"},
		"of another size":       {[]iptables.Key{{Field: iptables.Field(iptables.DestinationAddress), Size: 16}}, []iptables.Element{{address("::/0")}}, "doubt", "doubt"},
	} {
		m := iptables.Comparison{Keys: test.keys, Elements: iptables.NewElements(test.elements), Words: name}
		for _, want := range []string{test.met, test.not} {
			p := toWeb()
			met, err := m.MetBy(&p)
			got := map[bool]string{true: "yes", false: "no"}[met]
			if err != nil {
				got = "doubt"
			}
			if got != want {
				t.Errorf("%s, negated: %t: got %s, want %s", name, m.Not, got, want)
			}
			m.Not = true
		}
	}
}

// nft sees in what state a packet is as iptables does, untracked included, and nothing else of
// a connection that is not there.
func TestComparisonOfStates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		packet iptables.Packet
		want   iptables.CTState
	}{
		"new":       {iptables.Packet{State: iptables.StateNew}, iptables.StateNew},
		"untracked": {iptables.Packet{State: iptables.StateUntracked}, iptables.StateUntracked},
		"too early": {iptables.Packet{State: iptables.StateNew, BeforeTracking: true}, iptables.StateInvalid},
	} {
		p := test.packet
		for _, state := range []iptables.CTState{iptables.StateInvalid, iptables.StateNew, iptables.StateUntracked} {
			bits := iptables.StateBits(state)
			m := iptables.Comparison{
				Keys:     []iptables.Key{{Field: iptables.FieldState, Size: 4}},
				Elements: iptables.NewElements([]iptables.Element{{iptables.IDInterval(bits, bits)}}),
			}
			met, err := m.MetBy(&p)
			as, _ := iptables.Conntrack{States: state}.MetBy(&p)
			if err != nil || met != (state == test.want) || met != as {
				t.Errorf("%s: ct state %s: %t, %v, iptables: %t", name, state, met, err, as)
			}
		}
		m := iptables.Comparison{
			Keys:     []iptables.Key{{Field: iptables.FieldZone, Size: 2}},
			Elements: iptables.NewElements([]iptables.Element{{ports(0, 0)}}),
		}
		if met, err := m.MetBy(&p); err != nil || met != (test.want == iptables.StateNew) {
			t.Errorf("%s: ct zone 0: %t, %v", name, met, err)
		}
	}
}

// The values that a comparison names are those of its keys that are not changed before.
func TestComparisonValues(t *testing.T) {
	t.Parallel()
	m := iptables.Comparison{
		Keys:     []iptables.Key{destination, destinationPort, {Field: iptables.Field(iptables.OwnerUID), Size: 4, Mask: "\x00\x00\x00\x01"}},
		Elements: iptables.NewElements([]iptables.Element{{address("10.0.0.0/8"), ports(1, 2), iptables.IDInterval(0, 0)}, {address("10.0.0.9/32"), ports(3, 3), iptables.IDInterval(1, 1)}}),
	}
	r := iptables.Rule{Matches: []iptables.Match{m}}
	if got := r.Named(iptables.DestinationPort); !slices.Equal(got, []iptables.Interval{ports(1, 2), ports(3, 3)}) {
		t.Errorf("got %v", got)
	}
	for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.SourceAddress} {
		if _, _, ok := m.Values(f); ok {
			t.Errorf("%s has values", f)
		}
	}
	m.Not = true
	if _, _, ok := m.Values(iptables.DestinationPort); ok {
		t.Error("a port may be accepted with another address")
	}
}

// A choice is one rule if the packet decides, and otherwise a rule for each target.
func TestChoice(t *testing.T) {
	t.Parallel()
	id := iptables.IDInterval
	choice := func(key iptables.Key, otherwise iptables.Target, elements ...iptables.Interval) iptables.Choice {
		var list []iptables.Element
		var targets []iptables.Target
		for i, e := range elements {
			list = append(list, iptables.Element{e})
			targets = append(targets, iptables.Jump{Chain: fmt.Sprint("to", i)})
		}
		return iptables.Choice{Lookup: iptables.Comparison{Keys: []iptables.Key{key}, Elements: iptables.NewElements(list), Words: "x"}, Targets: targets, Otherwise: otherwise}
	}
	for name, test := range map[string]struct {
		choice iptables.Choice
		want   []string
	}{
		"decided":        {choice(destinationPort, nil, ports(1, 79), ports(80, 80)), []string{"-j to1"}},
		"none":           {choice(destinationPort, nil, ports(1, 79)), []string{""}},
		"otherwise":      {choice(destinationPort, iptables.Drop, ports(1, 79)), []string{"-j DROP"}},
		"by chance":      {choice(modulo(2, true), nil, id(0, 0), id(1, 1)), []string{"x: -j to0 -j to0", "-j to1"}},
		"maybe none":     {choice(modulo(3, true), nil, id(0, 0), id(1, 1)), []string{"x: -j to0 -j to0", "x: -j to1 -j to1", ""}},
		"without a user": {choice(iptables.Key{Field: iptables.Field(iptables.OwnerUID), Size: 4}, iptables.Drop, id(0, 0)), nil},
	} {
		p := toWeb()
		var got []string
		for _, r := range test.choice.Cases(&p) {
			got = append(got, r.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// The effect of CT is that of its words.
func TestEffect(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]iptables.Effect{
		"-j CT --notrack": iptables.Untracks, "-j CT --helper ftp": iptables.Passes, "-j CT --zone-orig 5": iptables.Unclear,
		"-j DNAT --to-destination 10.0.0.1": iptables.Rewrites, "-j MASQUERADE --random-fully": iptables.Renames,
		"-j REJECT --reject-with tcp-reset": iptables.Discards, "-j NFQUEUE --queue-num 0": iptables.Unclear, "-j CT (not understood)": iptables.Unclear,
	} {
		target, ok := parseOne(t, text).Target.(iptables.UnknownTarget)
		if got := target.Effect(); !ok || got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}
