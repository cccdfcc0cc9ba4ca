package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
)

func ruleset(t *testing.T, text string) *iptables.Ruleset {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &iptables.Ruleset{Tables: tables}
}

// packet goes out to port 80 of another machine, made by user 1000.
func packet() iptables.Packet {
	return iptables.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew,
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"),
		SourcePort: 40000, DestinationPort: 80, Out: "eth0",
		Owner: &iptables.SocketOwner{UID: 1000, GID: 1000},
	}
}

func TestWalk(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		change func(*iptables.Packet)
		want   string
	}{
		"no rules":   {"", nil, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
		"redirect":   {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", nil, "redirected port 9, mark 0x0, connection mark 0x0, zone 0"},
		"same port":  {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT\nCOMMIT\n", nil, "redirected port 80, mark 0x0, connection mark 0x0, zone 0"},
		"first wins": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", nil, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
		"policy":     {"*mangle\n:OUTPUT DROP\nCOMMIT\n", nil, "dropped port 0, mark 0x0, connection mark 0x0, zone 0"},
		"return":     {"*mangle\n:OUTPUT DROP\n:A -\n-A OUTPUT -j A\n-A OUTPUT -j ACCEPT\n-A A -j RETURN\n-A A -j DROP\nCOMMIT\n", nil, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
		"goto":       {"*mangle\n:OUTPUT DROP\n:A -\n-A OUTPUT -g A\n-A OUTPUT -j ACCEPT\n-A A -j RETURN\nCOMMIT\n", nil, "dropped port 0, mark 0x0, connection mark 0x0, zone 0"},
		"not new":    {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", func(p *iptables.Packet) { p.State = iptables.StateEstablished }, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
		"marks":      {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j MARK --set-xmark 0x12/0xff\n-A OUTPUT -m mark --mark 0x112 -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffffffff\nCOMMIT\n", func(p *iptables.Packet) { p.Mark = 0x134 }, "bypassed port 0, mark 0x112, connection mark 0x12, zone 0"},
		"first zone": {"*raw\n:OUTPUT ACCEPT\n-A OUTPUT -j CT --zone 1\n-A OUTPUT -j CT --zone 2\nCOMMIT\n", nil, "bypassed port 0, mark 0x0, connection mark 0x0, zone 1"},
		"no socket":  {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -m owner --uid-owner 1000 -j DROP\n-A OUTPUT -m owner ! --uid-owner 1000 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n", func(p *iptables.Packet) { p.Owner = nil }, "bypassed port 0, mark 0x1, connection mark 0x0, zone 0"},
		"wildcard":   {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -o et+ -j DROP\nCOMMIT\n", nil, "dropped port 0, mark 0x0, connection mark 0x0, zone 0"},
		"comment":    {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -m comment --comment \"no\" -j DROP\nCOMMIT\n", nil, "dropped port 0, mark 0x0, connection mark 0x0, zone 0"},
		"log":        {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j LOG --log-prefix x\n-A OUTPUT -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n", nil, "dropped port 0, mark 0x0, connection mark 0x0, zone 0"},
		// What goes out via lo comes in again, with its mark, and past nat and
		// the zones, for it has a connection.
		"lo": {"*raw\n:PREROUTING ACCEPT\n-A PREROUTING -j CT --zone 3\nCOMMIT\n*mangle\n:OUTPUT ACCEPT\n:PREROUTING ACCEPT\n-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\n" +
			"-A PREROUTING -i lo -p tcp -m mark --mark 0x1 -j TPROXY --on-port 7 --on-ip 0.0.0.0 --tproxy-mark 0x2/0xffffffff\nCOMMIT\n*nat\n:PREROUTING ACCEPT\n-A PREROUTING -j REDIRECT --to-ports 9\nCOMMIT\n",
			func(p *iptables.Packet) { p.Out = "lo" }, "tproxied port 7, mark 0x2, connection mark 0x0, zone 0"},
		// What is redirected on its way out is for 127.0.0.1 then.
		"redirected to lo": {"*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -d 127.0.0.1/32 -i lo -p tcp -m tcp --dport 9 -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n",
			nil, "redirected port 9, mark 0x5, connection mark 0x0, zone 0"},
		"irrelevant":   {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p udp -m string --string x -j DROP\nCOMMIT\n", nil, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
		"other family": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n", func(p *iptables.Packet) { p.Destination = netip.MustParseAddr("fd00::2") }, "bypassed port 0, mark 0x0, connection mark 0x0, zone 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := packet()
			if test.change != nil {
				test.change(&p)
			}
			result := explain.Walk(ruleset(t, test.text), p)
			if got := packettest.Fate(result); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestWalkDoesNotGuess(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"match":     {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j RETURN\n-A OUTPUT -m string --string x -j DROP\nCOMMIT\n", ""},
		"unknown":   {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m string --string x -j DROP\nCOMMIT\n", "it depends on -m string --string x"},
		"target":    {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -j NFQUEUE --queue-num 0\nCOMMIT\n", "what NFQUEUE does is not known"},
		"circle":    {"*nat\n:OUTPUT ACCEPT\n:A -\n-A OUTPUT -j A\n-A A -j A\nCOMMIT\n", "jumps are nested more than 16 deep"},
		"open jump": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -g A\nCOMMIT\n", "there is no chain A"},
	} {
		t.Run(name, func(t *testing.T) {
			result := explain.Walk(ruleset(t, test.text), packet())
			if unknown := result.Verdict == explain.Unknown; unknown != (test.want != "") || result.Doubt != test.want {
				t.Errorf("got the verdict %s and the doubt %q, want %q", result.Verdict, result.Doubt, test.want)
			}
		})
	}
}

func TestPathTellsTheRules(t *testing.T) {
	result := explain.Walk(ruleset(t, `*nat
:OUTPUT ACCEPT
:A -
-A OUTPUT -p udp -j A
-A OUTPUT -p tcp -j A
-A A -p tcp
-A A -p tcp -j REDIRECT --to-ports 9
COMMIT
`), packet())
	want := "  nat OUTPUT 2: -p tcp -j A\n  nat A 1: -p tcp\n  nat A 2: -p tcp -j REDIRECT --to-ports 9\n"
	if got := packettest.Path(result); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
