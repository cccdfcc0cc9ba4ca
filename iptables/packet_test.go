package iptables_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// What a packet meets, in the words of rules; "=" for one that this package cannot tell.
func TestPacketMatches(t *testing.T) {
	t.Parallel()
	sent := iptables.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP,
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"),
		SourcePort: 40000, DestinationPort: 80, Out: "eth0",
		Owner: &iptables.SocketOwner{UID: 1000, GID: 2000},
		Mark:  0x112, ConnMark: 7, State: iptables.StateNew,
	}
	came := sent
	came.Hook, came.In, came.Out, came.Owner = iptables.Prerouting, "eth0", "", nil
	early := sent
	early.BeforeTracking = true
	zoned := early
	zoned.Zone = 1
	for _, test := range []struct {
		name        string
		packet      iptables.Packet
		meets, fail string
	}{
		{"addresses", sent, "-s 10.0.0.0/8|! -s 10.0.0.2/32|-d 10.0.0.2/32", "-s 10.0.0.2/32|! -d 10.0.0.0/24"},
		{"interfaces", sent, "-o eth0|-o eth+|! -o lo|! -i lo", "-o eth|-i eth0|! -o e+"},
		{"protocol", sent, "-p tcp|! -p udp", "-p udp|! -p tcp"},
		{"ports", sent, "-m tcp --dport 80|-m tcp --sport 1024:65535 ! --dport 81", "-m udp --dport 80|-m tcp ! --dport 80"},
		{"multiport", sent, "-m multiport --dports 1,80|-m multiport --ports 40000|-m multiport ! --sports 80", "-m multiport --sports 80|-m multiport ! --ports 80"},
		{"owner", sent, "-m owner --uid-owner 1000|-m owner --uid-owner 1-1000 ! --gid-owner 1", "-m owner --uid-owner 1000 --gid-owner 1|-m owner ! --uid-owner 1000"},
		{"no owner", came, "-m owner ! --uid-owner 1000", "-m owner --uid-owner 0|-m owner ! --uid-owner 0 --gid-owner 0"},
		{"state", sent, "-m conntrack --ctstate NEW,RELATED|-m conntrack ! --ctstate INVALID", "-m conntrack --ctstate INVALID"},
		{"marks", sent, "-m mark --mark 0x112|-m mark --mark 0x12/0xff|-m connmark --mark 0x7", "-m mark --mark 0x12|-m connmark ! --mark 0x7"},
		{"before tracking", early, "-m conntrack --ctstate INVALID|-m mark --mark 0x112", "-m conntrack --ctstate NEW|-m connmark --mark 0x7|-m connmark ! --mark 0x7"},
		{"in a zone", zoned, "-m conntrack --ctstate NEW|-m connmark --mark 0x7", "-m conntrack --ctstate INVALID"},
		{"comments", sent, `-m comment --comment word|-m comment --comment "not as iptables writes it" --more`, `-p udp -m comment --comment word`},
		{"unknown", sent, "", "-p udp -m string --algo bm|=-m string --algo bm|=--unheard"},
	} {
		for want, rules := range map[bool]string{true: test.meets, false: test.fail} {
			for text := range strings.SplitSeq(rules, "|") {
				text, unknown := strings.CutPrefix(text, "=")
				tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader("*nat\n:OUTPUT ACCEPT\n-A OUTPUT "+text+"\nCOMMIT\n"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := test.packet.Matches(&tables[0].Chains[0].Rules[0])
				if got != want || (err != nil) != unknown {
					t.Errorf("%s: %q: got %t, %v", test.name, text, got, err)
				}
			}
		}
	}
}

// A packet without an owner has no id to look up; every other field it has.
func TestPacketMeetsSet(t *testing.T) {
	t.Parallel()
	p := iptables.Packet{Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), DestinationPort: 80, Out: "eth0"}
	all := map[iptables.SetField]iptables.Interval{
		iptables.SourceAddress:      iptables.PrefixInterval(netip.MustParsePrefix("10.0.0.1/32")),
		iptables.DestinationAddress: iptables.PrefixInterval(netip.MustParsePrefix("10.0.0.0/24")),
		iptables.InInterface:        iptables.InterfaceInterval(""),
		iptables.OutInterface:       iptables.InterfaceInterval("eth+"),
		iptables.SourcePort:         iptables.PortInterval(iptables.Port(0)),
		iptables.DestinationPort:    iptables.PortInterval(iptables.PortRange{First: 1, Last: 80}),
		iptables.OwnerUID:           iptables.IDInterval(0, 9),
		iptables.OwnerGID:           iptables.IDInterval(0, 9),
	}
	owned := p
	owned.Owner = &iptables.SocketOwner{}
	for _, f := range iptables.SetFields() {
		ids := f == iptables.OwnerUID || f == iptables.OwnerGID
		for _, not := range []bool{false, true} {
			s := iptables.NewSet(f, not, []iptables.Interval{all[f]})
			if met, err := s.MetBy(&owned); met == not || err != nil {
				t.Errorf("%s, not %t: got %t, %v", f, not, met, err)
			}
			if met, _ := s.MetBy(&p); met != (!not && !ids) {
				t.Errorf("%s, not %t, without an owner: got %t", f, not, met)
			}
		}
	}
}

// What targets that go on do to a packet, with and without a connection.
func TestAlterations(t *testing.T) {
	t.Parallel()
	tracked := iptables.Packet{Mark: 0x134, ConnMark: 0x5600}
	early := tracked
	early.BeforeTracking = true
	zoned := early
	zoned.Zone = 3
	with := func(p iptables.Packet, mark, connMark uint32, zone uint16) iptables.Packet {
		p.Mark, p.ConnMark, p.Zone = mark, connMark, zone
		return p
	}
	for _, test := range []struct {
		target    iptables.Alteration
		got, want iptables.Packet
	}{
		{iptables.SetMark{Value: 0x12, Mask: 0xff}, early, with(early, 0x112, 0x5600, 0)},
		{iptables.SetConnmark{Value: 0x12, Mask: 0xff}, tracked, with(tracked, 0x134, 0x5612, 0)},
		{iptables.SetConnmark{Value: 0x12, Mask: 0xff}, early, early},
		{iptables.SaveMark{PacketMask: 0xff, ConnectionMask: 0xf00}, tracked, with(tracked, 0x134, 0x5034, 0)},
		{iptables.SaveMark{PacketMask: 0xff, ConnectionMask: 0xf00}, early, early},
		{iptables.RestoreMark{PacketMask: 0xff, ConnectionMask: 0xf00}, tracked, with(tracked, 0x700, 0x5600, 0)},
		{iptables.RestoreMark{PacketMask: 0xff, ConnectionMask: 0xf00}, zoned, with(zoned, 0x700, 0x5600, 3)},
		{iptables.RestoreMark{PacketMask: 0xff, ConnectionMask: 0xf00}, early, early},
		{iptables.CTZone{Zone: 2}, early, with(early, 0x134, 0x5600, 2)},
		{iptables.CTZone{Zone: 2}, zoned, zoned},
		{iptables.CTZone{Zone: 2}, tracked, tracked},
	} {
		p := test.got
		if test.target.Alter(&p); p != test.want {
			t.Errorf("%#v: got %+v, want %+v", test.target, p, test.want)
		}
	}
}
