package nftables

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"golang.org/x/sys/unix"
)

const (
	meetsSource      = 40000
	meetsDestination = 8080
)

// meeting is a packet of lo, as it leaves and as it comes in.
func meeting(f iptables.Family, p iptables.Protocol) map[string]iptables.Packet {
	out := iptables.Packet{
		Hook: iptables.Output, Protocol: p, State: iptables.StateNew, Out: "lo",
		Source: f.Loopback(), Destination: f.Loopback(), SourceType: "LOCAL", DestinationType: "LOCAL",
		SourcePort: meetsSource, DestinationPort: meetsDestination,
		Owner: &iptables.SocketOwner{},
	}
	in := out
	in.Hook, in.In, in.Out, in.Owner = iptables.Input, "lo", "", nil
	return map[string]iptables.Packet{iptables.Output: out, iptables.Input: in}
}

// sendFirst sends the first packet of a connection, which nobody answers.
func sendFirst(t *testing.T, f iptables.Family, p iptables.Protocol) {
	t.Helper()
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	address := func(port int) unix.Sockaddr { return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}} }
	if f == iptables.IPv6 {
		domain = unix.AF_INET6
		address = func(port int) unix.Sockaddr {
			return &unix.SockaddrInet6{Port: port, Addr: netip.IPv6Loopback().As16()}
		}
	}
	if p == iptables.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, address(meetsSource)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, address(meetsDestination)); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	if p == iptables.UDP {
		if _, err := unix.Write(fd, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// sameAsCounted compares which rules of a chain the packet meets with what the kernel has
// counted. A rule in doubt has to be one of a few.
func sameAsCounted(t *testing.T, c *iptables.Chain, p iptables.Packet, texts func(int) string) (doubts int) {
	t.Helper()
	for i := range c.Rules {
		r := c.Rules[i]
		met, err := p.Matches(&r)
		if err != nil {
			doubts++
			continue
		}
		if counted := r.Counters.Packets > 0; counted != met {
			t.Errorf("%s %s: %s (%s): met: %t, counted: %t", p.Protocol, c.Name, texts(i), r, met, counted)
		}
	}
	return doubts
}

// conditions are those of rules of nft. Each is asked for the first packet of a connection
// via lo.
var conditions = []string{
	"meta nfproto ipv4", "meta nfproto ipv6", "meta nfproto { ipv4, ipv6 }", "meta protocol ip", "meta protocol != ip6",
	"meta l4proto tcp", "meta l4proto { tcp, udp }", "meta l4proto != tcp", "ip protocol tcp", "ip6 nexthdr udp", "ip protocol { udp, icmp }",
	"ip saddr 127.0.0.1", "ip saddr 127.0.0.0/8", "ip daddr != 127.0.0.0/9", "ip daddr 10.0.0.0/8", "ip daddr { 10.0.0.0/8, 127.0.0.1-127.0.0.5 }",
	"ip daddr != { 10.0.0.1, 10.0.0.2 }", "ip6 daddr ::1", "ip6 daddr != ::/64", "ip6 daddr { fd00::/8, ::1 }", "ip saddr & 255.0.0.255 == 127.0.0.1",
	"ip saddr 127.0.0.1 ip daddr 127.0.0.1", "ip saddr 127.0.0.1 ip daddr 127.0.0.2",
	"tcp dport 8080", "tcp dport 8081", "udp dport 8080", "tcp dport { 80, 8000-9000 }", "udp dport != { 80, 8080 }", "tcp dport != 8080",
	"tcp dport 8000-8100", "tcp dport != 8000-8100", "tcp sport >= 40000", "udp sport < 40000", "tcp sport 40000 tcp dport 8080",
	"th dport 8080", "th dport { 53, 8080 }", "th sport != 40000", "tcp sport . tcp dport { 40000 . 8080 }",
	"iif lo", "oif lo", "iif != lo", "iifname lo", `oifname "l*"`, `iifname { "eth0", "lo" }`, `oifname != { "eth0", "veth*" }`, "iif { lo }",
	"meta mark 0", "meta mark != 0", "meta mark & 0xff == 0", "meta mark { 1, 2 }", "meta mark 0-5", "meta mark >= 1",
	"ct state new", "ct state established,related", "ct state != new", "ct state { new, established }", "ct mark 0", "ct mark != 0",
	"ct direction original", "ct direction reply", "ct zone 0", "ct zone 5",
	"meta skuid 0", "meta skuid 1000", "meta skuid != 0", "meta skuid { 0, 5 }", "meta skuid 0-100", "meta skuid != 1-100", "meta skgid root",
	"fib daddr type local", "fib saddr type != local", "fib daddr type { unicast, multicast }", "fib saddr . iif oif missing", "fib saddr . iif oif exists",
	"meta pkttype host", "meta pkttype != multicast", "meta pkttype { broadcast, multicast }",
	"tcp flags syn", "tcp flags & (syn | ack) == syn", "tcp flags & (fin | syn | rst | ack) != syn", "tcp flags ack", "tcp flags != 0",
	"ip daddr . meta l4proto . th dport @services", "ip daddr . meta l4proto . th dport != @services", "ip daddr . th dport @ranges",
	"ip daddr . meta l4proto . th dport { 127.0.0.1 . tcp . 8080, 127.0.0.1 . udp . 1-65535 }", "ip daddr @networks", "ip daddr != @networks",
	"meta mark . meta l4proto { 0x0 . tcp, 0x1 . udp }", "iifname . th dport { lo . 8080 }", "ct state . meta l4proto { new . udp }",
	"ip daddr @empty", "ip daddr != @empty", "tcp dport @everything", "numgen random mod 2 { 0, 1 }", "numgen inc mod 2 offset 2 { 2, 3 }", "meta secpath missing",
	"ct status dnat", "ct status != dnat", "ct status seen-reply", "ct status { dnat }", "ct status & (dnat | assured) == 0",
	// What a packet does not decide.
	"ip ttl 64", "meta length 60", "ct status snat", "limit rate 5/second", "quota over 1 mbytes", "osf name \"Linux\"", "socket transparent 1",
	"jhash ip saddr mod 3 { 0 }", "numgen random mod 2 { 0 }", "udp length 9", "ct helper \"ftp\"", "rt mtu 1500", "ip dscp 0", "meta cpu 0", "ct bytes 0",
}

// undecided is how many of them are in doubt.
const undecided = 16

const conditionSets = `
table inet t {
	set services { type ipv4_addr . inet_proto . inet_service; elements = { 127.0.0.1 . udp . 8080, 10.0.0.1 . tcp . 80 }; }
	set ranges { type ipv4_addr . inet_service; flags interval; elements = { 127.0.0.0/8 . 8000-9000 }; }
	set networks { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 127.0.0.0/30 }; }
	set empty { type ipv4_addr; }
	set everything { type inet_service; elements = { * }; }
	chain OUTPUT { type filter hook output priority 0; }
	chain INPUT { type filter hook input priority 0; }
	chain last { type filter hook input priority 10; drop; }
}
`

// conditionsAt leaves out what the kernel refuses at a hook.
func conditionsAt(hook string) []string {
	refused := map[string][]string{
		iptables.Output: {"fib saddr . iif", "socket", "osf", "meta secpath"},
		iptables.Input:  {"rt mtu"},
	}
	return slices.DeleteFunc(slices.Clone(conditions), func(c string) bool {
		return slices.ContainsFunc(refused[hook], func(prefix string) bool { return strings.HasPrefix(c, prefix) })
	})
}

// Conditions in other tables are met by the packets that meet them in the kernel.
func TestConditions(t *testing.T) {
	for _, f := range iptables.Families() {
		for _, protocol := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
			t.Run(fmt.Sprint(f, protocol), func(t *testing.T) {
				t.Parallel()
				nstest.Enter(t)
				rules := conditionSets
				for _, chain := range []string{iptables.Output, iptables.Input} {
					for _, c := range conditionsAt(chain) {
						rules += "add rule inet t " + chain + " " + c + " counter\n"
					}
				}
				runNFT(t, rules)
				sendFirst(t, f, protocol)
				have := readAll(t)
				for name, p := range meeting(f, protocol) {
					chain := tableOf(have, f, "inet t").Chain(name)
					doubts := sameAsCounted(t, chain, p, func(i int) string { return conditionsAt(name)[i] })
					t.Logf("%s: %d of %d are in doubt", name, doubts, len(chain.Rules))
					if doubts > undecided {
						t.Errorf("%s: %d rules are in doubt", name, doubts)
					}
				}
			})
		}
	}
}

// Extensions of iptables are met by the packets that meet them in the kernel.
func TestExtensionsAreMet(t *testing.T) {
	for _, f := range iptables.Families() {
		for _, protocol := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
			t.Run(fmt.Sprint(f, protocol), func(t *testing.T) {
				t.Parallel()
				nstest.Enter(t)
				var commands strings.Builder
				for line := range strings.Lines(extensions) {
					if program, _, _ := strings.Cut(line, " "); program == f.Command() && !strings.Contains(line, " -j ") && strings.Contains(line, "-t filter") {
						commands.WriteString(line)
						other := strings.NewReplacer("-A INPUT", "-A OUTPUT", "-A OUTPUT", "-A INPUT").Replace(line)
						commands.WriteString(other)
					}
				}
				commands.WriteString(f.Command() + " -t filter -A INPUT -j DROP\n")
				apply(t, commands.String())
				sendFirst(t, f, protocol)
				have := readAll(t)
				filter := have.Backends[0].Rules.Table(f, "filter")
				for name, p := range meeting(f, protocol) {
					doubts := sameAsCounted(t, filter.Chain(name), p, func(int) string { return name })
					t.Logf("%s: %d of %d rules are in doubt", name, doubts, len(filter.Chain(name).Rules))
				}
			})
		}
	}
}

// runNFT runs nft's commands from a file.
func runNFT(t *testing.T, commands string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	nstest.Run(t, "nft", "-f", file)
}

func readAll(t *testing.T) installed.Namespace {
	t.Helper()
	have, err := Read(t.Context(), nstest.Here(t), owned)
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// tableOf returns a table of others.
func tableOf(have installed.Namespace, f iptables.Family, name string) *iptables.Table {
	rs := iptables.Ruleset{Tables: have.Others}
	return rs.Table(f, name)
}
