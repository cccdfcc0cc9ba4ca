package iptables_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// What packets meet of matches that this package has no types for, by their words; "=" for
// what the packet does not decide.
func TestWords(t *testing.T) {
	t.Parallel()
	sent := iptables.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew, Out: "eth0",
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"),
		SourceType: "LOCAL", DestinationType: "UNICAST", SourcePort: 40000, DestinationPort: 80,
		Owner: &iptables.SocketOwner{UID: 1000, GID: 2000},
	}
	untyped := sent
	untyped.SourceType, untyped.DestinationType = "", ""
	answer := sent
	answer.Hook, answer.In, answer.Out, answer.Owner, answer.State = iptables.Prerouting, "eth0", "", nil, iptables.StateEstablished
	untracked := sent
	untracked.State = iptables.StateUntracked
	translated := sent
	translated.Translated = true
	udp := sent
	udp.Protocol = iptables.UDP
	for _, test := range []struct {
		name        string
		packet      iptables.Packet
		meets, fail string
	}{
		{"types", sent, "-m addrtype --src-type LOCAL|-m addrtype --src-type LOCAL,ANYCAST ! --dst-type LOCAL|-m addrtype ! --dst-type LOCAL --limit-iface-out",
			"-m addrtype --dst-type LOCAL|-m addrtype ! --src-type LOCAL|=-m addrtype --src-type LOCAL --limit-iface-in"},
		{"no types", untyped, "", "=-m addrtype --dst-type LOCAL|=-m addrtype ! --src-type LOCAL"},
		{"chance", sent, "-m statistic --mode random --probability 1.00000000000|-m statistic --mode nth --every 1 --packet 0|-m statistic --mode random ! --probability 0.00000000000",
			"=-m statistic --mode random --probability 0.50000000000|-m statistic --mode random --probability 0.00000000000|=-m statistic --mode nth --every 2 --packet 0"},
		{"state", sent, "-m state --state NEW,RELATED|-m state ! --state ESTABLISHED|-m conntrack --ctstate NEW,DNAT", "-m state --state INVALID|-m conntrack --ctstate DNAT|=-m conntrack --ctstate SNAT|-m conntrack ! --ctstate NEW,DNAT"},
		{"translated", translated, "-m conntrack --ctstate DNAT|-m conntrack ! --ctstate RELATED,ESTABLISHED", "-m conntrack ! --ctstate DNAT|=-m conntrack --ctorigdst 10.0.0.2"},
		{"connection", sent, "-m conntrack --ctproto 6 --ctorigdst 10.0.0.2 --ctorigdstport 1:80|-m conntrack --ctstate NEW --ctorigsrc 10.0.0.0/8 --ctdir ORIGINAL|-m conntrack ! --ctstatus ASSURED",
			"-m conntrack --ctorigdst 10.0.0.3|-m conntrack --ctdir REPLY|-m conntrack ! --ctproto 6|=-m conntrack --ctreplsrc 10.0.0.2|=-m conntrack --ctexpire 10"},
		{"answer", answer, "-m conntrack --ctdir REPLY --ctrepldst 10.0.0.2|-m conntrack --ctstatus SEEN_REPLY,ASSURED|-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK|-m pkttype --pkt-type unicast",
			"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN|=-m conntrack --ctorigdst 10.0.0.2|=-m conntrack --ctstatus ASSURED|=-m mac --mac-source 00:11:22:33:44:55"},
		{"untracked", untracked, "-m conntrack --ctstate UNTRACKED --ctorigdst 1.2.3.4", "-m conntrack --ctorigdst 10.0.0.2|-m conntrack --ctstate NEW"},
		{"flags", sent, "-p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN|-p tcp -m tcp ! --tcp-flags SYN NONE", "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN|-p tcp -m tcp --dport 81 --tcp-option 5|=-p tcp -m tcp --dport 80 --tcp-option 5"},
		{"addresses", sent, "-m iprange --src-range 10.0.0.0-10.0.0.1 ! --dst-range 10.0.0.3-10.0.0.9", "-m iprange --dst-range 10.0.0.3-10.0.0.9"},
		{"bridge", sent, "-m physdev ! --physdev-is-in|-m physdev ! --physdev-in eth0 ! --physdev-is-bridged", "-m physdev --physdev-in eth0|-m physdev ! --physdev-is-in --physdev-out eth0"},
		{"decided", sent, "-m policy --dir in --pol none|-m rpfilter|-m rpfilter --loose|! -f|-m recent --set --name x --mask 255.255.255.255 --rsource|-m helper ! --helper ftp|-m owner --socket-exists",
			"-m policy --dir out --pol ipsec|-m rpfilter --invert|-f|-m helper --helper ftp|-m mac --mac-source 00:11:22:33:44:55|-m icmp --icmp-type 8|-m sctp --dport 5|-m owner ! --socket-exists"},
		{"undecided", sent, "", "=-m limit --limit 5/min|=-m hashlimit --hashlimit-upto 5/sec|=-m set --match-set number-1 src|=-m recent --rcheck --name x|=-m string --string \"x\" --algo bm|" +
			"=-m u32 --u32 \"0x6&0xff=0x1\"|=-m time --timestart 10:00:00|=-m connlimit --connlimit-above 1|=-m length --length 60|=-m ttl --ttl-eq 64|=-m socket --transparent|=-m quota --quota 1|=-m unheard --of"},
		{"other protocol", udp, "", "-m tcp --tcp-option 5|-p tcp -m tcp --tcp-flags SYN SYN|-m osf --genre Linux"},
		{"groups", sent, "-m owner --uid-owner 1000 --gid-owner 2000 --suppl-groups", "-m owner --uid-owner 0 --gid-owner 2000 --suppl-groups|=-m owner --gid-owner 5 --suppl-groups"},
		{"no decides before doubt", sent, "", "-m limit --limit 5/min -m mark --mark 0x1|-m string --string \"x\" --algo bm -m addrtype --dst-type LOCAL"},
	} {
		for want, rules := range map[bool]string{true: test.meets, false: test.fail} {
			for text := range strings.SplitSeq(rules, "|") {
				if text == "" {
					continue
				}
				text, doubtful := strings.CutPrefix(text, "=")
				met, err := test.packet.Matches(parseOne(t, text))
				if met != want || (err != nil) != doubtful {
					t.Errorf("%s: %q: got %t, %v", test.name, text, met, err)
				}
			}
		}
	}
}

// Only chance decides differently for packets that are alike.
func TestWordsOfChance(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"-m statistic --mode random --probability 0.50000000000": true, "-m limit --limit 5/min": false,
	} {
		_, err := new(iptables.Packet).Matches(parseOne(t, text))
		if d := iptables.DoubtOf(err); d.Chance != want || d.What != text {
			t.Errorf("%s: got %+v", text, d)
		}
	}
}

func parseOne(t *testing.T, text string) *iptables.Rule {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader("*nat\n:OUTPUT ACCEPT\n-A OUTPUT "+text+"\nCOMMIT\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &tables[0].Chains[0].Rules[0]
}
