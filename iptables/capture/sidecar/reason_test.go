package sidecar_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

func plan(t *testing.T, args ...string) iptables.Plan {
	t.Helper()
	cfg := recorded.Parse(t, nil, args...)
	return cfg.Plan(host.Host{NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}).Rules
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

// inbound comes in to port 80.
func inbound() iptables.Packet {
	p := packet()
	p.Hook, p.Owner, p.In, p.Out = iptables.Prerouting, nil, "eth0", ""
	return p
}

func query(server string) iptables.Packet {
	p := packet()
	p.Protocol, p.DestinationPort, p.Destination = iptables.UDP, 53, netip.MustParseAddr(server)
	return p
}

// ofMachine is a query that comes in from a virtual machine.
func ofMachine(server string) iptables.Packet {
	p := query(server)
	p.Hook, p.Owner, p.In, p.Out = iptables.Prerouting, nil, "tap7", ""
	return p
}

// forms are those that a plan is written in.
var forms = map[string]func(iptables.Plan) iptables.Ruleset{
	"multiport": form.IPTables,
	"sets":      form.Native,
}

// Every exemption is told with its option, whatever the form, and the change that is
// named captures the connection: args with the change in place of what it is about.
func TestReasons(t *testing.T) {
	by := func(uid, gid uint32) iptables.Packet {
		p := packet()
		p.Owner = &iptables.SocketOwner{UID: uid, GID: gid}
		return p
	}
	lo := packet()
	lo.Out, lo.Destination = "lo", lo.Source
	again := inbound()
	again.In = "lo"
	passthrough := lo
	passthrough.Source = netip.MustParseAddr("127.0.0.6")
	for name, test := range map[string]struct {
		packet iptables.Packet
		args   string
		want   string
		// changed are the arguments after the change; empty for none.
		changed string
	}{
		"excluded port":   {inbound(), "-d 22,80", "port 80 is excluded by --excluded-ports=80 / take 80 out of --excluded-ports", "-d 22"},
		"not listed":      {inbound(), "-b 8080,443", "port 80 is not in --included-ports=8080,443 / add 80 to --included-ports", "-b 8080,443,80"},
		"one listed":      {inbound(), "-b 443", "port 80 is not in --included-ports=443 / add 80 to --included-ports", "-b 443,80"},
		"off":             {inbound(), "--included-ports=", "no inbound port is captured: --included-ports is empty / add 80 to --included-ports, or set it to *", "-b 80"},
		"client":          {inbound(), "--excluded-source-cidrs 192.168.0.0/16,10.0.0.0/8", "client 10.0.0.1 is excluded by --excluded-source-cidrs=10.0.0.0/8 / take 10.0.0.0/8 out of --excluded-source-cidrs", "--excluded-ports="},
		"interface":       {inbound(), "-c eth0,net+ -d 80,22 -m TPROXY", "interface eth0 is excluded by --excluded-interfaces=eth0 / take eth0 out of --excluded-interfaces; port 80 is excluded by --excluded-ports=80 / take 80 out of --excluded-ports", "-m TPROXY"},
		"machine":         {inbound(), "-k tap0,eth0 -i 10.1.0.0/16", "what comes in via eth0 is outbound traffic (--virtual-interfaces=eth0), and destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16 / add 10.0.0.2 to --included-cidrs", "-k eth0 -i 10.1.0.0/16,10.0.0.2"},
		"machine, any":    {inbound(), "-k auto,e* -i 10.1.0.0/16", "what comes in via eth0 is outbound traffic (--virtual-interfaces=e+), and destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16 / add 10.0.0.2 to --included-cidrs", "-k eth0 -i 10.1.0.0/16,10.0.0.2"},
		"machine's DNS":   {ofMachine("10.96.0.10"), "-k auto --redirect-dns", "DNS queries that come in via tap7 are not captured: --redirect-virtual-dns is not set / set --redirect-virtual-dns", "-k tap* --redirect-dns --redirect-virtual-dns"},
		"machine, no DNS": {ofMachine("8.8.8.8"), "-k tap7", "DNS is not captured: --redirect-dns is not set / set --redirect-dns, and --capture-all-dns too unless resolv.conf names 8.8.8.8", "-k tap* --redirect-dns --capture-all-dns --redirect-virtual-dns"},
		"machine, server": {ofMachine("8.8.8.8"), "-k tap7 --redirect-dns --redirect-virtual-dns", "name server 8.8.8.8 is not in resolv.conf, which has 10.96.0.10 (--redirect-dns) / query 10.96.0.10, or add 8.8.8.8 to resolv.conf and apply again, or set --capture-all-dns", "-k tap* --redirect-dns --capture-all-dns --redirect-virtual-dns"},
		"DNS comes in":    {ofMachine("10.96.0.10"), "-k tap0 --redirect-dns --redirect-virtual-dns", "the proxy takes only tcp and outbound DNS (udp to port 53) / ", ""},
		"outbound port":   {packet(), "-o 80", "port 80 is excluded by --excluded-outbound-ports=80 / take 80 out of --excluded-outbound-ports", "--excluded-outbound-ports="},
		"destination":     {packet(), "-x 192.168.0.0/16,10.0.0.0/24", "destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/24 / take 10.0.0.0/24 out of --excluded-cidrs", "--excluded-cidrs="},
		"any client":      {inbound(), "--excluded-source-cidrs 0.0.0.0/0", "client 10.0.0.1 is excluded by --excluded-source-cidrs=0.0.0.0/0 / take 0.0.0.0/0 out of --excluded-source-cidrs", "--excluded-source-cidrs="},
		"anywhere":        {packet(), "-x 0.0.0.0/0", "destination 10.0.0.2 is excluded by --excluded-cidrs=0.0.0.0/0 / take 0.0.0.0/0 out of --excluded-cidrs", "--excluded-cidrs="},
		"not included":    {packet(), "-i 10.1.0.0/16,10.2.0.0/16 -q 443", "destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16,10.2.0.0/16 and port 80 is not in --included-outbound-ports=443 / add 10.0.0.2 to --included-cidrs, or 80 to --included-outbound-ports", "-i 10.1.0.0/16 -q 443,80"},
		"two":             {packet(), "-o 80 -x 10.0.0.0/24", "port 80 is excluded by --excluded-outbound-ports=80 / take 80 out of --excluded-outbound-ports; destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/24 / take 10.0.0.0/24 out of --excluded-cidrs", "--excluded-outbound-ports="},
		"user":            {packet(), "--excluded-uids 5,1000,2000-3000", "traffic of user 1000 is excluded by --excluded-uids=1000 / take 1000 out of --excluded-uids", "--excluded-outbound-ports="},
		"group":           {packet(), "--excluded-groups 7,1000", "group 1000 is excluded by --excluded-groups=1000 / take 1000 out of --excluded-groups", "--excluded-outbound-ports="},
		"no group":        {packet(), "--included-groups 7,8", "group 1000 is not in --included-groups=7,8 / add 1000 to --included-groups", "--included-groups 7,8,1000"},
		"proxy":           {by(1337, 1000), "", "user 1337 is the proxy's (--proxy-uid=1337): capturing its traffic would make a loop / if this is not the proxy, run it as another user", ""},
		"proxy's group":   {by(1000, 1337), "", "group 1337 is the proxy's (--proxy-gid=1337): capturing its traffic would make a loop / if this is not the proxy, run it as another group", ""},
		"itself":          {lo, "", "connections from the pod to itself are not captured, unless the proxy (--proxy-uid=1337) opens them to the pod's own address / connect to the address of a service", ""},
		"comes in via lo": {again, "-m TPROXY", "what comes in via lo is from the pod itself: it is not captured, unless the proxy sends it to the pod's own address / ", ""},
		"passthrough":     {passthrough, "", "the proxy connects to the application from 127.0.0.6: capturing that would make a loop / ", ""},
		"no DNS":          {query("8.8.8.8"), "", "DNS is not captured: --redirect-dns is not set / set --redirect-dns, and --capture-all-dns too unless resolv.conf names 8.8.8.8", "--redirect-dns --capture-all-dns"},
		"no DNS, named":   {query("10.96.0.10"), "", "DNS is not captured: --redirect-dns is not set / set --redirect-dns, and --capture-all-dns too unless resolv.conf names 10.96.0.10", "--redirect-dns"},
		"other server":    {query("8.8.8.8"), "--redirect-dns", "name server 8.8.8.8 is not in resolv.conf, which has 10.96.0.10 (--redirect-dns) / query 10.96.0.10, or add 8.8.8.8 to resolv.conf and apply again, or set --capture-all-dns", "--redirect-dns --capture-all-dns"},
	} {
		t.Run(name, func(t *testing.T) {
			for form, of := range forms {
				if diff := cmp.Diff(test.want, policytest.Reasons(sidecar.Policy{}, of(plan(t, strings.Fields(test.args)...)), test.packet)); diff != "" {
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

// A rule for a list names the items that the packet is about, of those that are
// spelled out.
func TestReasonsOfLists(t *testing.T) {
	long := "--excluded-cidrs=192.168.0.0/32,192.168.2.0/32,192.168.4.0/32,192.168.6.0/32,192.168.8.0/32," +
		"192.168.10.0/32,192.168.12.0/32,192.168.14.0/32,10.0.0.0/24,10.0.1.0/24"
	for args, want := range map[string]string{
		"-x 10.0.0.0/8,192.168.0.0/16,10.0.0.0/24": "destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/8,10.0.0.0/24" +
			" / take 10.0.0.0/8,10.0.0.0/24 out of --excluded-cidrs",
		// The list is cut short, and the set has the two as one.
		long: "destination 10.0.0.2 is excluded by --excluded-cidrs=10.0.0.0/23 / take 10.0.0.0/23 out of --excluded-cidrs",
		"-i 10.1.0.0/16,10.2.0.0/16 --excluded-groups 7,8": "destination 10.0.0.2 is not in --included-cidrs=10.1.0.0/16,10.2.0.0/16" +
			" / add 10.0.0.2 to --included-cidrs, or 80 to --included-outbound-ports",
	} {
		if diff := cmp.Diff(want, policytest.Reasons(sidecar.Policy{}, form.Native(plan(t, strings.Fields(args)...)), packet())); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

// Whoever asks is told something about every bypass, and nothing about the rest.
func TestReasonsOfEveryBypass(t *testing.T) {
	rules := form.IPTables(plan(t))
	for _, p := range []iptables.Packet{inbound(), packet(), query("10.96.0.10")} {
		for _, state := range []iptables.CTState{iptables.StateNew, iptables.StateEstablished, iptables.StateInvalid} {
			p.State = state
			q := policytest.Question(sidecar.Policy{}, rules, p)
			result, reasons := q.Result, explain.Reasons(q)
			if (result.Verdict == explain.Bypassed) != (len(reasons) > 0) {
				t.Errorf("%+v: %s for %d reasons", p, result.Verdict, len(reasons))
			}
		}
	}
}
