package linkerd_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

func plan(t *testing.T, args ...string) iptables.Plan {
	t.Helper()
	return recorded.ParseLinkerd(t, "", args...).Plan(host.Host{}).Rules
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

func by(uid, gid uint32) func(*iptables.Packet) {
	return func(p *iptables.Packet) { p.Owner = &iptables.SocketOwner{UID: uid, GID: gid} }
}

func toItself(p *iptables.Packet) { p.Destination, p.Out = p.Source, "lo" }

func byUDP(p *iptables.Packet) { p.Protocol = iptables.UDP }

// Every exemption is told with its option, whatever the form, and the change that is named
// captures the connection: args with the change in place of what it is about.
func TestReasons(t *testing.T) {
	t.Parallel()
	const noLoop = ": capturing its traffic would make a loop / if this is not the proxy, run it as another "
	for name, test := range map[string]struct {
		packet     iptables.Packet
		args, want string
		// changed are the arguments after the change; empty for none.
		changed string
	}{
		"excluded port":         {packet(inbound), "--excluded-ports=22,80-90", "port 80 is excluded by --excluded-ports=80:90 / take 80 out of --excluded-ports", "--excluded-ports=22"},
		"excluded, listed port": {packet(inbound), "-r 80 --excluded-ports=80", "port 80 is excluded by --excluded-ports=80 / take 80 out of --excluded-ports", "-r 80"},
		"not listed":            {packet(inbound), "-r 8080 -r 443", "port 80 is not in --included-ports=8080,443 / add 80 to --included-ports", "-r 8080,443,80"},
		"nothing inbound":       {packet(inbound), "--included-ports=", "no inbound port is captured: --included-ports is empty / add 80 to --included-ports, or set it to *", "-r 80"},
		"client":                {packet(inbound), "--subnets-to-ignore=192.168.0.0/16,10.0.0.0/8", "client 10.0.0.1 is excluded by --excluded-source-cidrs=10.0.0.0/8 / take 10.0.0.0/8 out of --excluded-source-cidrs", "--subnets-to-ignore=192.168.0.0/16"},
		"outbound port":         {packet(), "--excluded-outbound-ports=80,443", "port 80 is excluded by --excluded-outbound-ports=80 / take 80 out of --excluded-outbound-ports", "--excluded-outbound-ports=443"},
		"destination":           {packet(), "-x 10.1.0.0/16 --outbound-subnets-to-ignore=10.0.0.0/24", "destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/24 / take 10.0.0.0/24 out of --excluded-cidrs", "--excluded-cidrs=10.1.0.0/16"},
		"user":                  {packet(by(2102, 5)), "", "user 2102 is the proxy's (--proxy-uid=2102)" + noLoop + "user", ""},
		"one of several users":  {packet(by(7, 5)), "-u 6,7", "user 7 is the proxy's (--proxy-uid=7)" + noLoop + "user", ""},
		"group":                 {packet(by(5, 2103)), "-g 2103", "group 2103 is the proxy's (--proxy-gid=2103)" + noLoop + "group", ""},
		"itself":                {packet(toItself), "", "connections from the pod to itself are not captured / connect to the address of a service", ""},
		"udp":                   {packet(byUDP), "", "the proxy takes only tcp / ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for form, of := range map[string]func(iptables.Plan) iptables.Ruleset{"iptables": form.IPTables, "native": form.Native} {
				rules := linkerd.Recognise(of(plan(t, strings.Fields(test.args)...)), of).Rules
				if diff := cmp.Diff(test.want, policytest.Reasons(linkerd.Policy{}, rules, test.packet)); diff != "" {
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
	without := func(chain string) iptables.Ruleset {
		rs := form.IPTables(plan(t))
		c := rs.Table(iptables.IPv4, iptables.Nat).Chain(chain)
		c.Rules = c.Rules[:len(c.Rules)-1]
		return rs
	}
	for name, test := range map[string]struct {
		rules  iptables.Ruleset
		packet iptables.Packet
		want   string
	}{
		"no jump":     {without(iptables.Output), packet(), "no rule in OUTPUT sends it to the rules of meshtables / apply again"},
		"no rule out": {without("PROXY_INIT_OUTPUT"), packet(), "somebody changed the rules of --outbound-port: as meshtables writes them, they capture it / apply again"},
		"no rule in":  {without("PROXY_INIT_REDIRECT"), packet(inbound), "no inbound port is captured: --included-ports is empty / add 80 to --included-ports, or set it to *"},
		"no IPv6": {form.IPTables(plan(t, "--ipv6=off")), packet(func(p *iptables.Packet) {
			p.Source, p.Destination = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
		}), "meshtables has no rules for IPv6 / apply them with --ipv6=on"},
	} {
		if diff := cmp.Diff(test.want, policytest.Reasons(linkerd.Policy{}, test.rules, test.packet)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
