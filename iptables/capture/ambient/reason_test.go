package ambient_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

func plan(t *testing.T, args ...string) iptables.Plan {
	t.Helper()
	return recorded.ParseAmbient(t, "", args...).Plan(host.Host{}).Rules
}

// packet goes out to port 80 of another machine.
func packet(changes ...func(*iptables.Packet)) iptables.Packet {
	p := iptables.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew,
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"),
		SourcePort: 40000, DestinationPort: 80, Out: "eth0",
		Owner: &iptables.SocketOwner{UID: 1000, GID: 1000},
	}
	for _, change := range changes {
		change(&p)
	}
	return p
}

// inbound comes in.
func inbound(p *iptables.Packet) { p.Hook, p.Owner, p.In, p.Out = iptables.Prerouting, nil, "eth0", "" }

func to(address string) func(*iptables.Packet) {
	return func(p *iptables.Packet) { p.Destination = netip.MustParseAddr(address) }
}

func from(address string) func(*iptables.Packet) {
	return func(p *iptables.Packet) { p.Source = netip.MustParseAddr(address) }
}

func toPort(port uint16) func(*iptables.Packet) {
	return func(p *iptables.Packet) { p.DestinationPort = port }
}

func marked(mark uint32) func(*iptables.Packet) { return func(p *iptables.Packet) { p.Mark = mark } }

func byLoopback(p *iptables.Packet) { p.Out = "lo" }

func query(p *iptables.Packet) { p.Protocol, p.DestinationPort = iptables.UDP, 53 }

// Every exemption is told with its option, whatever the form, and the change that is
// named captures the connection: args with the change in place of what it is about.
func TestReasons(t *testing.T) {
	t.Parallel()
	const noLoop = ": capturing its traffic would make a loop / if this is not the proxy, have it send another mark"
	for name, test := range map[string]struct {
		packet iptables.Packet
		args   string
		want   string
		// changed are the arguments after the change; empty for none.
		changed string
	}{
		"excluded port":     {packet(inbound), "-d 22,80", "port 80 is excluded by --excluded-ports=80 / take 80 out of --excluded-ports", "-d 22"},
		"not listed":        {packet(inbound), "-b 8080,443", "port 80 is not in --included-ports=8080,443 / add 80 to --included-ports", "-b 8080,443,80"},
		"gateway":           {packet(inbound), "--included-ports=", "no inbound port is captured: --included-ports is empty / add 80 to --included-ports, or set it to *", "-b 80"},
		"client":            {packet(inbound), "--excluded-source-cidrs 192.168.0.0/16,10.0.0.0/8", "client 10.0.0.1 is excluded by --excluded-source-cidrs=10.0.0.0/8 / take 10.0.0.0/8 out of --excluded-source-cidrs", "--excluded-ports="},
		"interface":         {packet(inbound), "-c eth0,net+ -d 80,22", "interface eth0 is excluded by --excluded-interfaces=eth0 / take eth0 out of --excluded-interfaces; port 80 is excluded by --excluded-ports=80 / take 80 out of --excluded-ports", "-d 22"},
		"tunnel":            {packet(inbound, toPort(15008)), "", "port 15008 is the proxy's own, for tunnelled connections (--tunnel-port=15008) / ", ""},
		"tunnel, listed":    {packet(inbound, toPort(15008)), "-b 15000-15010", "port 15008 is the proxy's own, for tunnelled connections (--tunnel-port=15008) / ", ""},
		"health probe":      {packet(inbound, from("169.254.7.127")), "", "client 169.254.7.127 is the node with its health probes, which are outside of the mesh (--host-probe-address=169.254.7.127) / ", ""},
		"to the prober":     {packet(to("10.9.9.9")), "--host-probe-address=10.9.9.9", "destination 10.9.9.9 is the node, where health probes come from (--host-probe-address=10.9.9.9) / ", ""},
		"to the pod itself": {packet(inbound, to("127.0.0.1")), "", "destination 127.0.0.1 is the pod itself / ", ""},
		"machine":           {packet(inbound), "-k tap0,eth0 -i 10.1.0.0/16", "what comes in via eth0 is outbound traffic (--virtual-interfaces=eth0), and destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16 / add 10.0.0.2 to --included-cidrs", "-k eth0 -i 10.1.0.0/16,10.0.0.2"},
		"machine's DNS":     {packet(query, inbound), "-k e* --redirect-dns", "DNS queries that come in via eth0 are not captured: --redirect-virtual-dns is not set / set --redirect-virtual-dns", "-k e* --redirect-dns --redirect-virtual-dns"},
		"machine, no DNS":   {packet(query, inbound), "-k eth0", "DNS is not captured: --redirect-dns is not set / set --redirect-dns", "-k eth0 --redirect-dns --redirect-virtual-dns"},
		"DNS comes in":      {packet(query, inbound), "-k tap0 --redirect-dns --redirect-virtual-dns", "the proxy takes only tcp and outbound DNS (udp to port 53) / ", ""},
		"proxy comes in":    {packet(inbound, marked(0x1539)), "", "mark 0x1539 is the proxy's (--proxy-mark=0x539/0xfff)" + noLoop, ""},
		"proxy goes out":    {packet(marked(0x539)), "", "mark 0x539 is the proxy's (--proxy-mark=0x539/0xfff)" + noLoop, ""},
		"proxy's query":     {packet(query, marked(7)), "--redirect-dns --proxy-mark=7", "mark 0x7 is the proxy's (--proxy-mark=0x7)" + noLoop, ""},
		"answer":            {packet(marked(0x111)), "", "its mark means an answer to the proxy, which has this connection already (--connection-mark=0x111/0xfff) / ", ""},
		"outbound port":     {packet(), "-o 80", "port 80 is excluded by --excluded-outbound-ports=80 / take 80 out of --excluded-outbound-ports", "--excluded-outbound-ports="},
		"destination":       {packet(), "-x 192.168.0.0/16,10.0.0.0/24", "destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/24 / take 10.0.0.0/24 out of --excluded-cidrs", "--excluded-cidrs="},
		"not included":      {packet(), "-i 10.1.0.0/16,10.2.0.0/16 -q 443", "destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16,10.2.0.0/16 and port 80 is not in --included-outbound-ports=443 / add 10.0.0.2 to --included-cidrs, or 80 to --included-outbound-ports", "-i 10.1.0.0/16 -q 443,80"},
		"itself":            {packet(byLoopback, to("10.0.0.1")), "", "connections from the pod to itself are not captured / connect to the address of a service", ""},
		"loopback":          {packet(byLoopback, to("127.0.0.1")), "", "destination 127.0.0.1 is the pod itself / ", ""},
		"loopback, listed":  {packet(byLoopback, to("127.0.0.1")), "-i 127.0.0.0/8", "destination 127.0.0.1 is the pod itself / ", ""},
		"no DNS":            {packet(query), "", "DNS is not captured: --redirect-dns is not set / set --redirect-dns", "--redirect-dns"},
		"DNS in the pod":    {packet(query, byLoopback, to("127.0.0.1")), "--redirect-dns", "queries to a resolver in the pod itself are not captured / ", ""},
		"DNS excluded":      {packet(query), "--redirect-dns -o 53", "port 53 is excluded by --excluded-outbound-ports=53 / take 53 out of --excluded-outbound-ports", "--redirect-dns"},
		"other udp":         {packet(query, toPort(443)), "", "the proxy takes only tcp and outbound DNS (udp to port 53) / ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for form, of := range map[string]func(iptables.Plan) iptables.Ruleset{"iptables": form.IPTables, "native": form.Native} {
				rules := ambient.Recognise(of(plan(t, strings.Fields(test.args)...)), of).Rules
				if diff := cmp.Diff(test.want, policytest.Reasons(ambient.Policy{}, rules, test.packet)); diff != "" {
					t.Errorf("%s: %s", form, diff)
				}
			}
			if test.changed == "" {
				return
			}
			changed := form.IPTables(plan(t, strings.Fields(test.changed)...))
			if result := explain.Walk(&changed, test.packet); result.Verdict == explain.Bypassed {
				t.Errorf("after the change: %s", result.Verdict)
			}
		})
	}
}

// Where rules are missing, the reason says so.
func TestReasonsOfDamage(t *testing.T) {
	t.Parallel()
	without := func(chain string, rules ...string) iptables.Ruleset {
		rs := form.IPTables(plan(t))
		c := rs.Table(iptables.IPv4, iptables.Nat).Chain(chain)
		var kept []iptables.Rule
		for _, r := range c.Rules {
			if !strings.Contains(strings.Join(rules, "\n"), r.String()) {
				kept = append(kept, r)
			}
		}
		c.Rules = kept
		return rs
	}
	v6 := packet(from("fd00::1"), to("fd00::2"))
	for name, test := range map[string]struct {
		rules  iptables.Ruleset
		packet iptables.Packet
		want   string
	}{
		"no jump": {without(iptables.Output, "-j ISTIO_OUTPUT"), packet(), "no rule in OUTPUT sends it to the rules of meshtables / apply again"},
		"no rule": {without("ISTIO_OUTPUT", "! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001"), packet(),
			"destination 10.0.0.2 is not in --included-cidrs= / add 10.0.0.2 to --included-cidrs, or 80 to --included-outbound-ports"},
		"no IPv6": {form.IPTables(plan(t, "--ipv6=off")), v6, "meshtables has no rules for IPv6 / apply them with --ipv6=on"},
	} {
		if diff := cmp.Diff(test.want, policytest.Reasons(ambient.Policy{}, test.rules, test.packet)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
