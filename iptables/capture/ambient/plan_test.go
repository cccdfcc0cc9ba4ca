package ambient_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What the reference does not exempt comes where it exempts no more than it says.
func TestExclusions(t *testing.T) {
	t.Parallel()
	planned := form.IPTables(plan(t, "--ipv6=off", "--redirect-dns", "--excluded-interfaces=net1", "--excluded-ports=22",
		"--excluded-source-cidrs=10.1.0.0/16", "--excluded-outbound-ports=3306", "--excluded-cidrs=10.2.0.0/16",
		"--included-outbound-ports=443", "--included-cidrs=10.0.0.0/8", "--virtual-interfaces=tap*", "--redirect-virtual-dns"))
	const mark = " -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports "
	want := []string{
		"mangle PREROUTING -j ISTIO_PRERT # built-in (inbound)",
		"mangle OUTPUT -j ISTIO_OUTPUT # built-in (outbound)",
		"mangle ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff # --connection-mark=0x111/0xfff",
		"mangle ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff # --proxy-mark=0x539/0xfff",
		"raw PREROUTING -j ISTIO_PRERT # built-in (inbound)",
		"raw OUTPUT -j ISTIO_OUTPUT # built-in (outbound)",
		"raw ISTIO_OUTPUT -o net1 -j RETURN # --excluded-interfaces=net1",
		"raw ISTIO_OUTPUT -p udp -m mark --mark 0x539/0xfff -m udp --dport 53 -j CT --zone 1 # --redirect-dns",
		"raw ISTIO_PRERT -i net1 -j RETURN # --excluded-interfaces=net1",
		"raw ISTIO_PRERT -p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1 # --redirect-dns",
		"nat PREROUTING -j ISTIO_PRERT # built-in (inbound)",
		"nat OUTPUT -j ISTIO_OUTPUT # built-in (outbound)",
		"nat ISTIO_OUTPUT -o net1 -j RETURN # --excluded-interfaces=net1",
		"nat ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN # --excluded-outbound-ports=3306",
		"nat ISTIO_OUTPUT -p udp -m udp --dport 3306 -j RETURN # --excluded-outbound-ports=3306",
		"nat ISTIO_OUTPUT -d 169.254.7.127/32 -p tcp -m tcp -j ACCEPT # --host-probe-address=169.254.7.127",
		"nat ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark 0x539/0xfff -m udp --dport 53 -j REDIRECT --to-ports 15053 # --redirect-dns",
		"nat ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m tcp --dport 53" + mark + "15053 # --redirect-dns",
		"nat ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT # --connection-mark=0x111/0xfff",
		"nat ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT # built-in (loopback)",
		"nat ISTIO_OUTPUT -d 10.2.0.0/16 -j RETURN # --excluded-cidrs=10.2.0.0/16",
		"nat ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m tcp --dport 443" + mark + "15001 # --included-outbound-ports=443",
		"nat ISTIO_OUTPUT -d 127.0.0.1/32 -p tcp -j RETURN # built-in (loopback)",
		"nat ISTIO_OUTPUT -d 10.0.0.0/8 -p tcp" + mark + "15001 # --included-cidrs=10.0.0.0/8",
		"nat ISTIO_PRERT -i tap+ -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053 # --redirect-virtual-dns=tap+",
		"nat ISTIO_PRERT -i tap+ -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053 # --redirect-virtual-dns=tap+",
		"nat ISTIO_PRERT -d 10.0.0.0/8 -i tap+ -p tcp -j REDIRECT --to-ports 15001 # --virtual-interfaces=tap+",
		"nat ISTIO_PRERT -i tap+ -p tcp -j RETURN # --virtual-interfaces=tap+",
		"nat ISTIO_PRERT -i net1 -j RETURN # --excluded-interfaces=net1",
		"nat ISTIO_PRERT -s 169.254.7.127/32 -p tcp -m tcp -j ACCEPT # --host-probe-address=169.254.7.127",
		"nat ISTIO_PRERT -s 10.1.0.0/16 -p tcp -j RETURN # --excluded-source-cidrs=10.1.0.0/16",
		"nat ISTIO_PRERT -p tcp -m tcp --dport 22 -j RETURN # --excluded-ports=22",
		"nat ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008" + mark + "15006 # --included-ports=*",
	}
	got := policytest.Describe(planned)
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], "IPv4 ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// What the proxy sends is never captured, whatever the options: it would come back to it.
func TestProxyIsNeverCaptured(t *testing.T) {
	t.Parallel()
	for seed := range uint64(soak.Times(200, 2000)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cfg := plantest.Ambient(seed)
			plan := cfg.Plan(host.Host{}).Rules
			rules := form.Native(plan)
			for _, f := range plan.Families {
				values, random := packettest.ValuesOf(f, &rules), rand.New(rand.NewPCG(7, seed))
				for range 200 {
					p := values.Packet(random)
					if p.Hook == iptables.Prerouting {
						p.In = "lo" // Marks do not leave the namespace.
					}
					// The application's answers have the mark of a connection, not new ones.
					p.ConnMark = 0
					p.Mark = p.Mark&^cfg.ProxyMark.Mask | cfg.ProxyMark.Value
					if result := explain.Walk(&rules, p); result.Verdict != explain.Bypassed {
						t.Fatalf("%+v: %s\n%s", p, result.Verdict, packettest.Path(result))
					}
				}
			}
		})
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	r := recorded.ParseAmbient(t, "", "--connection-mark=7", "--routing-table=8", "--ipv6=on").Plan(host.Host{}).Routing
	want := iptables.Routing{Mark: 7, Mask: iptables.FullMask, Table: 8, Priority: 32764, Families: iptables.Families(), TableOption: "--routing-table"}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// The plan warns of what the namespace makes of the options.
func TestPlanWarnings(t *testing.T) {
	t.Parallel()
	h := host.Host{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Interfaces: []host.Interface{{Name: "eth0", Up: true}}}
	got := recorded.ParseAmbient(t, "", "--excluded-interfaces=eth+", "--excluded-cidrs=fd00::/8").Plan(h).Warnings
	want := []string{
		"--excluded-interfaces has every interface that is up (eth0): nothing from or to other machines is captured",
		"fd00::/8 has no effect: the namespace has no global IPv6 address, so IPv6 is not captured (--ipv6=on captures it anyway)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestFound(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"--ipv6=off":               {"IPv6: not captured (--ipv6=off)", "the proxy's mark: 0x539/0xfff"},
		"--redirect-dns --ipv6=on": {"IPv6: captured (--ipv6=on)", "the proxy's mark: 0x539/0xfff", "name servers: any"},
	} {
		cfg := recorded.ParseAmbient(t, "", strings.Fields(args)...)
		if diff := cmp.Diff(want, cfg.Found(host.Host{}, "resolv.conf")); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
		if needs, _ := cfg.NeedsNameServers(); needs || cfg.IDs() != nil {
			t.Errorf("%s: needs name servers: %t, names ids: %v", args, needs, cfg.IDs())
		}
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"--ipv6=off": {
			"tcp from 169.254.7.127 → 0 (the node's health probes: --host-probe-address)",
			"to loopback → 0 (is the pod itself)",
			"tcp to port 15008 → 0 (--tunnel-port=15008)",
			"marked 0x539/0xfff → 0 (the proxy's: --proxy-mark=0x539/0xfff)",
			"all other tcp → 15006 (--included-ports=*)",
			"everything else → 0 (the proxy takes tcp only)",
			"tcp to 169.254.7.127 → 0 (the node's health probes: --host-probe-address)",
			"marked 0x539/0xfff → 0 (the proxy's: --proxy-mark=0x539/0xfff)",
			"to loopback → 0 (is the pod itself)",
			"tcp marked 0x111/0xfff → 0 (answers to the proxy: --connection-mark=0x111/0xfff)",
			"to the pod itself → 0 (does not leave the pod)",
			"all other tcp → 15001 (--included-cidrs=*)",
			"everything else → 0 (the proxy takes tcp only)",
		},
		"--ipv6=on --redirect-dns --redirect-virtual-dns -k tap0 -i 10.0.0.0/8 -q 443 -b 80,81 -c net1 -x 10.2.0.0/16 -o 25 --excluded-source-cidrs=10.1.0.0/16": {
			"DNS queries by interface tap0 → 15053 (--redirect-virtual-dns)",
			"tcp by interface tap0 to 10.0.0.0/8 → 15001 (--virtual-interfaces=tap0)",
			"everything else by interface tap0 → 0 (--virtual-interfaces=tap0)",
			"by interface net1 → 0 (--excluded-interfaces=net1)",
			"tcp from 169.254.7.127 or fd16:9254:7127:1337:ffff:ffff:ffff:ffff → 0 (the node's health probes: --host-probe-address)",
			"tcp from 10.1.0.0/16 → 0 (--excluded-source-cidrs=10.1.0.0/16)",
			"to loopback → 0 (is the pod itself)",
			"tcp to port 15008 → 0 (--tunnel-port=15008)",
			"marked 0x539/0xfff → 0 (the proxy's: --proxy-mark=0x539/0xfff)",
			"tcp to port 80, 81 → 15006 (--included-ports=80,81)",
			"everything else → 0 (--included-ports=80,81)",
			"by interface net1 → 0 (--excluded-interfaces=net1)",
			"tcp and udp to port 25 → 0 (--excluded-outbound-ports=25)",
			"tcp to 169.254.7.127 or fd16:9254:7127:1337:ffff:ffff:ffff:ffff → 0 (the node's health probes: --host-probe-address)",
			"marked 0x539/0xfff → 0 (the proxy's: --proxy-mark=0x539/0xfff)",
			"to loopback → 0 (is the pod itself)",
			"DNS queries by tcp, and by udp to other machines → 15053 (--redirect-dns)",
			"tcp marked 0x111/0xfff → 0 (answers to the proxy: --connection-mark=0x111/0xfff)",
			"to the pod itself → 0 (does not leave the pod)",
			"to 10.2.0.0/16 → 0 (--excluded-cidrs=10.2.0.0/16)",
			"tcp to port 443 → 15001 (--included-outbound-ports=443)",
			"tcp to 10.0.0.0/8 → 15001 (--included-cidrs=10.0.0.0/8)",
			"everything else → 0 (--included-cidrs=10.0.0.0/8)",
		},
		"--ipv6=off --included-ports= --included-cidrs=": {
			"everything else → 0 (--included-ports=)",
			"tcp to 169.254.7.127 → 0 (the node's health probes: --host-probe-address)",
			"marked 0x539/0xfff → 0 (the proxy's: --proxy-mark=0x539/0xfff)",
			"to loopback → 0 (is the pod itself)",
			"tcp marked 0x111/0xfff → 0 (answers to the proxy: --connection-mark=0x111/0xfff)",
			"to the pod itself → 0 (does not leave the pod)",
			"everything else → 0 (--included-cidrs=)",
		},
	} {
		s := recorded.ParseAmbient(t, "", strings.Fields(args)...).Summarise(host.Host{}, 0)
		if diff := cmp.Diff(want, append(lines(s.Inbound), lines(s.Outbound)...)); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", args, diff)
		}
	}
}

func lines(summary []capture.Line) []string {
	all := make([]string, len(summary))
	for i, l := range summary {
		all[i] = fmt.Sprintf("%s → %d (%s)", l.What, l.Port, l.Why)
	}
	return all
}
