package sidecar_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Queries that come in by virtual interfaces go where the pod's own go, and their packets are in
// the zone of the answers. They are asked about before what else comes in by these interfaces.
func TestVirtualDNS(t *testing.T) {
	t.Parallel()
	servers := []string{"10.96.0.10", "10.96.0.11"}
	for _, test := range []struct {
		args, table, chain, want string
	}{
		{"", iptables.Nat, "ISTIO_PREROUTING", `
			-i docker+ -j ISTIO_OUTPUT_DNS # --redirect-virtual-dns=docker+
			-i tap0 -j ISTIO_OUTPUT_DNS # --redirect-virtual-dns=tap0
			-i docker+ -j ISTIO_REDIRECT # --virtual-interfaces=docker+
			-i tap0 -j ISTIO_REDIRECT # --virtual-interfaces=tap0
			-i docker+ -j RETURN # --virtual-interfaces=docker+
			-i tap0 -j RETURN # --virtual-interfaces=tap0
			-p tcp -j ISTIO_INBOUND # --included-ports=*`},
		{"", iptables.Raw, "ISTIO_INBOUND", `
			-d 10.96.0.10/32 -i docker+ -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=docker+
			-d 10.96.0.11/32 -i docker+ -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=docker+
			-d 10.96.0.10/32 -i tap0 -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=tap0
			-d 10.96.0.11/32 -i tap0 -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=tap0
			-s 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --zone 1 # --redirect-dns=10.96.0.10
			-s 10.96.0.11/32 -p udp -m udp --sport 53 -j CT --zone 1 # --redirect-dns=10.96.0.11`},
		{"--capture-all-dns", iptables.Raw, "ISTIO_INBOUND", `
			-i docker+ -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=docker+
			-i tap0 -p udp -m udp --dport 53 -j CT --zone 2 # --redirect-virtual-dns=tap0
			-p udp -m udp --sport 53 -j CT --zone 1 # --capture-all-dns`},
		{"--mode=TPROXY --capture-all-dns", iptables.Mangle, "ISTIO_PREROUTING", `
			-i docker+ -p tcp -m tcp --dport 53 -j RETURN # --redirect-virtual-dns=docker+
			-i tap0 -p tcp -m tcp --dport 53 -j RETURN # --redirect-virtual-dns=tap0
			-p tcp -j ISTIO_INBOUND # --included-ports=*
			-p tcp -m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff # --tproxy-mark=1337`},
		{"--mode=TPROXY --included-ports=", iptables.Mangle, "ISTIO_PREROUTING", `
			-p tcp -m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff # --tproxy-mark=1337`},
	} {
		args := append(strings.Fields(test.args), "--redirect-dns", "--redirect-virtual-dns", "--virtual-interfaces=docker*,tap0")
		got := strings.Join(rules(planArgs(t, servers, args...), iptables.IPv4, test.table, test.chain), "\n")
		if diff := cmp.Diff(strings.ReplaceAll(test.want[1:], "\t", ""), got); diff != "" {
			t.Errorf("%s: %s %s: want (-), got (+):\n%s", test.args, test.table, test.chain, diff)
		}
	}
}

// Without --redirect-virtual-dns the rules are as without the option.
func TestVirtualDNSIsAsked(t *testing.T) {
	t.Parallel()
	args := []string{"--redirect-dns", "--virtual-interfaces=docker0"}
	for _, without := range [][]string{
		{"--redirect-virtual-dns", "--redirect-dns"}, {"--redirect-virtual-dns", "--virtual-interfaces=docker0"}, {"--redirect-virtual-dns=false", args[0], args[1]},
	} {
		c := planArgs(t, []string{"10.96.0.10"}, without...)
		for _, table := range []string{iptables.Raw, iptables.Nat} {
			for _, chain := range []string{"ISTIO_INBOUND", "ISTIO_PREROUTING"} {
				if got := strings.Join(rules(c, iptables.IPv4, table, chain), "\n"); strings.Contains(got, "virtual-dns") {
					t.Errorf("%s: %s %s:\n%s", without, table, chain, got)
				}
			}
		}
	}
}

// In a family without a captured name server nothing is captured either.
func TestVirtualDNSByFamily(t *testing.T) {
	t.Parallel()
	c := planArgs(t, []string{"fd00::10"}, "--ipv6=on", "--redirect-dns", "--redirect-virtual-dns", "--virtual-interfaces=docker0")
	for _, f := range iptables.Families() {
		for _, table := range []string{iptables.Raw, iptables.Nat} {
			chain := map[string]string{iptables.Raw: "ISTIO_INBOUND", iptables.Nat: "ISTIO_PREROUTING"}[table]
			if got := strings.Contains(strings.Join(rules(c, f, table, chain), "\n"), "virtual-dns"); got != (f == iptables.IPv6) {
				t.Errorf("%s %s: has rules %t", f, table, got)
			}
		}
	}
}

// The rules name what auto stands for; explain says so too.
func TestAutoIsSpeltOut(t *testing.T) {
	t.Parallel()
	h := host.Host{
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.244.1.7/24")},
		Interfaces: []host.Interface{{Name: "eth0", Uplink: true}, {Name: "docker0", Virtual: true}, {Name: "lab0", Virtual: true}},
	}
	cfg := recorded.Parse(t, nil, "--virtual-interfaces=net7,auto")
	var got []string
	for _, line := range rules(cfg.Plan(h), iptables.IPv4, iptables.Nat, "ISTIO_PREROUTING") {
		if name, ok := strings.CutSuffix(line, "-j RETURN # --virtual-interfaces="+line[strings.LastIndex(line, "=")+1:]); ok {
			got = append(got, strings.TrimSpace(strings.TrimPrefix(name, "-i ")))
		}
	}
	if diff := cmp.Diff(cfg.TakesFrom(h), got); diff != "" || got[0] != "net7" || got[len(got)-1] != "lab0" {
		t.Errorf("%q; by the options (-), in rules (+):\n%s", got, diff)
	}
	if found := cfg.Found(h, ""); found[len(found)-1] != "virtual interfaces: "+strings.Join(got, ", ") {
		t.Errorf("found %q", found)
	}
	line := cfg.Summarise(h, 0).Inbound[0]
	if want := (capture.Line{What: "tcp by interface " + strings.Join(got, ", "), Port: 15001, Why: "--virtual-interfaces=net7,auto"}); line != want {
		t.Errorf("got %+v, want %+v", line, want)
	}
}
