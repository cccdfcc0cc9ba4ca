package nftables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/soak"
)

// Random rules of every form of the model are written and read like the
// recorded ones. The seed is the test's name, so that a failure repeats.
func TestRandom(t *testing.T) {
	for seed := range uint64(soak.Times(15, 40)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			want := randomRuleset(seed)
			if err := want.Validate(); err != nil {
				t.Fatal(err)
			}
			sameInKernel(t, want)
		})
	}
}

func randomRuleset(seed uint64) iptables.Ruleset {
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	var rs iptables.Ruleset
	for _, family := range iptables.Families() {
		for _, name := range []string{iptables.Nat, iptables.Mangle, iptables.Raw} {
			rs.Tables = append(rs.Tables, g.table(family, name, 60))
		}
	}
	return rs
}

// everyForm returns a table with each match and target of the model, plain and
// negated, in the chain ISTIO_A.
func everyForm(family iptables.Family, name string) iptables.Table {
	t := iptables.NewTable(family, name)
	tcp := iptables.ProtocolMatch{Protocol: iptables.TCP}
	t.Append("ISTIO_A", iptables.Rule{})
	t.Append("ISTIO_C")
	g := generator{rand.New(rand.NewPCG(1, 2))}
	for _, match := range g.matches(iptables.TCP) {
		t.Append("ISTIO_A", iptables.Rule{Protocol: tcp, Matches: []iptables.Match{match}, Target: iptables.Return})
	}
	for _, target := range g.targets(family, name) {
		t.Append("ISTIO_A", iptables.Rule{Protocol: tcp, Target: target})
	}
	return t
}

func check(t testing.TB, family iptables.Family, table, chain string, r iptables.Rule) {
	t.Helper()
	args := append([]string{"-t", table, "-C", chain}, strings.Fields(r.Uncommented().String())...)
	for _, m := range r.Matches {
		if c, ok := m.(iptables.Comment); ok {
			args = append(args, "-m", "comment", "--comment", c.Text)
		}
	}
	if out, err := exec.Command(family.Command()+"-nft", args...).CombinedOutput(); err != nil {
		t.Errorf("%s-nft %q: %v\n%s", family.Command(), args, err, out)
	}
}

type generator struct{ *rand.Rand }

func (g generator) bool() bool { return g.IntN(2) == 0 }

// table has rules for inbound packets in ISTIO_A and for outbound ones in
// ISTIO_B: the kernel lets TPROXY and owner be reached from one side only.
func (g generator) table(family iptables.Family, name string, rules int) iptables.Table {
	t := iptables.NewTable(family, name)
	t.Append("ISTIO_A")
	t.Append("ISTIO_B")
	t.Append("ISTIO_C")
	for range rules {
		r := g.rule(family, name)
		t.Append(sideOf(r), r)
	}
	t.Append(iptables.Prerouting, iptables.Rule{Protocol: g.protocol(), Target: iptables.Jump{Chain: "ISTIO_A"}})
	t.Append(iptables.Output, iptables.Rule{Protocol: g.protocol(), Target: iptables.Jump{Chain: "ISTIO_B"}})
	return t
}

func sideOf(r iptables.Rule) (chain string) {
	if _, ok := r.Target.(iptables.TProxy); ok {
		return "ISTIO_A"
	}
	return "ISTIO_B"
}

func (g generator) rule(family iptables.Family, table string) iptables.Rule {
	r := iptables.Rule{Protocol: g.protocol()}
	if g.bool() {
		r.Source = g.address(family)
	}
	if g.bool() {
		r.Destination = g.address(family)
	}
	if g.bool() {
		r.In = g.iface()
	}
	if g.bool() {
		r.Out = g.iface()
	}
	targets := g.targets(family, table)
	r.Target = targets[g.IntN(len(targets))]
	switch r.Target.(type) {
	case iptables.TProxy:
		r.Protocol = iptables.ProtocolMatch{Protocol: iptables.UDP}
		return r
	case iptables.Redirect:
		r.Protocol = iptables.ProtocolMatch{Protocol: iptables.TCP}
	}
	protocol := r.Protocol.Protocol
	if r.Protocol.Not || protocol != iptables.TCP && protocol != iptables.UDP {
		protocol = ""
	}
	all := g.matches(protocol)
	for range g.IntN(4) {
		m := all[g.IntN(len(all))]
		sameKind := func(other iptables.Match) bool { return fmt.Sprintf("%T", m) == fmt.Sprintf("%T", other) }
		// iptables takes each match once.
		if !slices.ContainsFunc(r.Matches, sameKind) {
			r.Matches = append(r.Matches, m)
		}
	}
	return r
}

func (g generator) protocol() iptables.ProtocolMatch {
	return []iptables.ProtocolMatch{
		{},
		{Protocol: iptables.TCP}, {Protocol: iptables.TCP}, {Protocol: iptables.TCP, Not: true},
		{Protocol: iptables.UDP}, {Protocol: "sctp"}, {Protocol: "esp", Not: true}, {Protocol: "253"},
	}[g.IntN(8)]
}

func (g generator) address(family iptables.Family) iptables.Address {
	b := family.Unspecified().AsSlice()
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	addr, _ := netip.AddrFromSlice(b)
	bits := 1 + g.IntN(addr.BitLen())
	if g.bool() {
		bits = addr.BitLen()
	}
	return iptables.Address{Prefix: netip.PrefixFrom(addr, bits).Masked(), Not: g.bool()}
}

func (g generator) iface() iptables.Interface {
	names := []string{"lo", "eth0", "eth+", "e+", "abcdefghijklmno", "abcdefghijklmn+", "tun-1.5"}
	return iptables.Interface{Name: names[g.IntN(len(names))], Not: g.bool()}
}

func (g generator) ports() iptables.PortRange {
	first := uint16(1 + g.UintN(60000))
	if g.bool() {
		return iptables.Port(first)
	}
	return iptables.PortRange{First: first, Last: first + 1 + uint16(g.UintN(5000))}
}

func (g generator) portMatch() iptables.PortMatch {
	return iptables.PortMatch{Range: g.ports(), Not: g.bool(), Set: true}
}

func (g generator) multiport() iptables.Multiport {
	sides := []iptables.PortSide{iptables.SourcePorts, iptables.DestinationPorts, iptables.EitherPorts}
	m := iptables.Multiport{Side: sides[g.IntN(len(sides))], Not: g.bool()}
	for range 1 + g.IntN(7) {
		m.Ports = append(m.Ports, g.ports())
	}
	return m
}

func (g generator) id() iptables.IDMatch {
	first := g.Uint32N(70000)
	if g.bool() {
		return iptables.IDMatch{First: first, Last: first, Not: g.bool(), Set: true}
	}
	return iptables.IDMatch{First: first, Last: first + 1 + g.Uint32N(100), Not: g.bool(), Set: true}
}

// mark returns a value and its mask: the whole mark in every second case.
func (g generator) mark() (value, mask uint32) {
	mask = iptables.FullMask
	if g.bool() {
		mask = g.Uint32()
	}
	return g.Uint32() & mask, mask
}

// comment returns text of any bytes that a comment can have, most of them such as
// have a meaning to somebody.
func (g generator) comment() string {
	const meaning = "\\\"' \t=-!#*()[]:.,jt"
	b := make([]byte, g.IntN(iptables.MaxComment+1))
	for i := range b {
		b[i] = meaning[g.IntN(len(meaning))]
		if c := byte(g.Uint32()); g.IntN(4) == 0 && c != 0 && c != '\n' {
			b[i] = c
		}
	}
	return string(b)
}

// matches returns one of every match that goes with a protocol.
func (g generator) matches(protocol iptables.Protocol) []iptables.Match {
	value, mask := g.mark()
	states := iptables.CTState(1 + g.UintN(31))
	list := []iptables.Match{
		iptables.Owner{UID: g.id()},
		iptables.Owner{GID: g.id()},
		iptables.Owner{UID: g.id(), GID: g.id()},
		iptables.Conntrack{States: states, Not: g.bool()},
		iptables.Conntrack{States: 1 << g.UintN(5), Not: g.bool()},
		iptables.Mark{Value: value, Mask: mask, Not: g.bool()},
		iptables.Connmark{Value: value, Mask: mask, Not: g.bool()},
		iptables.Comment{Text: g.comment()},
	}
	if protocol == "" {
		return list
	}
	both := iptables.Ports{Protocol: protocol, Source: g.portMatch(), Destination: g.portMatch()}
	// iptables 1.8.9 gets two negated single ports wrong; see expression.Decoder.Condition.
	both.Source.Not = both.Source.Not && !both.Destination.Not
	return append(list,
		iptables.Ports{Protocol: protocol, Source: g.portMatch()},
		iptables.Ports{Protocol: protocol, Destination: g.portMatch()},
		both,
		g.multiport(),
	)
}

// targets returns one of every target that a table has.
func (g generator) targets(family iptables.Family, table string) []iptables.Target {
	value, mask := g.mark()
	list := []iptables.Target{
		nil, iptables.Accept, iptables.Return,
		iptables.Jump{Chain: "ISTIO_C"}, iptables.Goto{Chain: "ISTIO_C"},
	}
	if table != iptables.Nat {
		// iptables refuses to drop packets in nat.
		list = append(list, iptables.Drop)
	}
	switch table {
	case iptables.Nat:
		list = append(list, iptables.Redirect{Ports: iptables.Port(15001)}, iptables.Redirect{Ports: g.ports()})
	case iptables.Mangle:
		list = append(list,
			iptables.SetMark{Value: value, Mask: mask},
			iptables.SetConnmark{Value: value, Mask: mask},
			iptables.SaveMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
			iptables.RestoreMark{PacketMask: g.Uint32(), ConnectionMask: g.Uint32()},
			iptables.TProxy{Port: 15006, IP: family.Unspecified(), Mark: value, Mask: mask},
			iptables.TProxy{Port: 15006, IP: netip.PrefixFrom(g.address(family).Prefix.Addr(), 0).Addr(), Mark: 1, Mask: iptables.FullMask},
		)
	case iptables.Raw:
		list = append(list, iptables.CTZone{Zone: uint16(1 + g.UintN(60000))})
	}
	return list
}
