package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// What is tried follows from the rules, whatever they capture and whatever their
// form.
func TestPlan(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*sidecar.Config)
		want   string
	}{
		"default": {func(*sidecar.Config) {}, `
			outbound tcp 1000:1000 192.0.2.1:80 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:80 not 15001
			inbound tcp outside 10.1.0.7:80 15006
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"DNS and TPROXY": {func(c *sidecar.Config) { c.Mode, c.RedirectDNS = sidecar.ModeTProxy, true }, `
			outbound tcp 1000:1000 192.0.2.1:80 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:80 not 15001
			inbound tcp outside 10.1.0.7:80 15006 transparent
			proxy as client tcp 0:1000 192.0.2.255 10.1.0.7:0 mark 1337
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			DNS udp 1000:1000 10.96.0.10:53 15053
			DNS tcp 1000:1000 10.96.0.10:53 15053
			proxy's DNS udp 1337:1000 10.96.0.10:53 not 15053`},
		"all DNS": {func(c *sidecar.Config) { c.RedirectDNS, c.CaptureAllDNS = true, true }, `
			outbound tcp 1000:1000 192.0.2.1:80 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:80 not 15001
			inbound tcp outside 10.1.0.7:80 15006
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			DNS udp 1000:1000 192.0.2.1:53 15053
			DNS tcp 1000:1000 192.0.2.1:53 15053
			proxy's DNS udp 1337:1000 192.0.2.1:53 not 15053`},
		"lists": {func(c *sidecar.Config) {
			c.IncludedPorts = config.PortSelection{Ports: []iptables.PortRange{{First: 443, Last: 445}}}
			c.IncludedCIDRs = config.CIDRSelection{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/9")}
			c.IncludedGroups = config.GroupSelection{Groups: []uint32{50}}
			c.OutboundPort, c.InboundPort = 1, 2
		}, `
			outbound tcp 1000:50 10.255.255.255:80 1
			proxy's outbound tcp 1337:1000 10.255.255.255:80 not 1
			inbound tcp outside 10.1.0.7:443 2
			inbound tcp outside 10.1.0.7:445 2
			proxy to itself tcp 1337:1000 10.1.0.7:80 2
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"long lists": {func(c *sidecar.Config) {
			c.IncludedPorts = config.PortSelection{}
			for port := uint16(5000); port < 5100; port += 2 {
				c.IncludedPorts.Ports = append(c.IncludedPorts.Ports, iptables.Port(port))
			}
			c.IncludedCIDRs = config.CIDRSelection{CIDRs: []netip.Prefix{
				netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("203.0.113.0/24"),
			}}
			c.IncludedGroups = config.GroupSelection{Groups: []uint32{50, 52}}
		}, `
			outbound tcp 1000:50 198.51.100.0:80 15001
			proxy's outbound tcp 1337:1000 198.51.100.0:80 not 15001
			outbound tcp 1000:50 203.0.113.0:80 15001
			outbound tcp 1000:52 198.51.100.0:80 15001` +
			inbound(5000, 2, 16) + `
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			inbound tcp unknown: 16 of 50 listed ports tried`},
		"ranges": {func(c *sidecar.Config) {
			c.IncludedPorts = config.PortSelection{Ports: []iptables.PortRange{
				iptables.Port(80), iptables.Port(81), iptables.Port(9000), {First: 15008, Last: 15010},
			}}
		}, `
			outbound tcp 1000:1000 192.0.2.1:82 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:82 not 15001
			inbound tcp outside 10.1.0.7:80 15006
			inbound tcp outside 10.1.0.7:81 15006
			inbound tcp outside 10.1.0.7:9000 15006
			inbound tcp outside 10.1.0.7:15010 15006
			proxy to itself tcp 1337:1000 10.1.0.7:82 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"ports and networks": {func(c *sidecar.Config) {
			c.IncludedPorts = config.PortSelection{}
			c.IncludedOutboundPorts = portList(5432, 6379)
			c.IncludedCIDRs = config.CIDRSelection{CIDRs: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.2.0/24"),
			}}
		}, `
			outbound tcp 1000:1000 198.51.100.1:5432 15001
			proxy's outbound tcp 1337:1000 198.51.100.1:5432 not 15001
			outbound tcp 1000:1000 198.51.100.1:6379 15001
			outbound tcp 1000:1000 10.0.0.0:80 15001
			outbound tcp 1000:1000 172.16.0.0:80 15001
			outbound tcp 1000:1000 192.0.2.0:80 15001
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"long lists outbound": {func(c *sidecar.Config) {
			c.IncludedPorts, c.IncludedCIDRs = config.PortSelection{}, config.CIDRSelection{}
			c.IncludedGroups = config.GroupSelection{}
			for i := range uint16(20) {
				c.IncludedOutboundPorts = append(c.IncludedOutboundPorts, iptables.Port(5000+2*i))
				c.IncludedCIDRs.CIDRs = append(c.IncludedCIDRs.CIDRs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(2 * i)}), 16))
				c.IncludedGroups.Groups = append(c.IncludedGroups.Groups, uint32(50+2*i))
			}
		}, longOutbound() + `
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			outbound tcp unknown: 16 of 20 listed ports tried
			outbound tcp unknown: 16 of 20 listed networks tried
			outbound tcp unknown: 16 of 20 listed groups tried`},
		"ports only, an ordinary user is the proxy": {func(c *sidecar.Config) {
			c.IncludedPorts, c.IncludedCIDRs = config.PortSelection{}, config.CIDRSelection{}
			c.IncludedOutboundPorts = []iptables.PortRange{iptables.Port(5432)}
			c.ProxyUIDs = []uint32{1000, 70000}
		}, `
			outbound tcp 1001:1001 192.0.2.1:5432 15001
			proxy's outbound tcp 1000:1001 192.0.2.1:5432 not 15001
			proxy to itself tcp 1000:1001 10.1.0.7:80 15006
			proxy to application tcp 1000:1001 127.0.0.6 10.1.0.7:0`},
		"DNS only": {func(c *sidecar.Config) {
			c.IncludedPorts, c.IncludedCIDRs = config.PortSelection{}, config.CIDRSelection{}
			c.RedirectDNS = true
		}, `
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			DNS udp 1000:1000 10.96.0.10:53 15053
			DNS tcp 1000:1000 10.96.0.10:53 15053
			proxy's DNS udp 1337:1000 10.96.0.10:53 not 15053`},
		"many users exempt": {func(c *sidecar.Config) {
			c.ExcludedUIDs = []sidecar.UserTraffic{{First: 1000, Last: 1999}, {First: 60000, Last: 65535}}
		}, `
			outbound tcp 2000:2000 192.0.2.1:80 15001
			proxy's outbound tcp 1337:2000 192.0.2.1:80 not 15001
			inbound tcp outside 10.1.0.7:80 15006
			proxy to itself tcp 1337:2000 10.1.0.7:80 15006
			proxy to application tcp 1337:2000 127.0.0.6 10.1.0.7:0`},
		"usual proxies": {func(c *sidecar.Config) { c.ProxyUIDs = []uint32{65534, 65533} }, `
			outbound tcp 1000:1000 192.0.2.1:80 15001
			proxy's outbound tcp 65534:1000 192.0.2.1:80 not 15001
			inbound tcp outside 10.1.0.7:80 15006
			proxy to itself tcp 65534:1000 10.1.0.7:80 15006
			proxy to application tcp 65534:1000 127.0.0.6 10.1.0.7:0`},
		"usual ports excluded": {func(c *sidecar.Config) {
			c.ExcludedPorts = portList(80, 8080, 1024, 3000, 49151)
			c.ExcludedOutboundPorts = portList(81)
		}, `
			outbound tcp 1000:1000 192.0.2.1:82 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:82 not 15001
			inbound tcp outside 10.1.0.7:82 15006
			proxy to itself tcp 1337:1000 10.1.0.7:82 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"every port named": {func(c *sidecar.Config) {
			c.ExcludedPorts = []iptables.PortRange{{First: 1, Last: 999}, {First: 2000, Last: 65535}}
			c.ExcludedOutboundPorts = []iptables.PortRange{{First: 500, Last: 2500}}
		}, `
			outbound tcp 1000:1000 192.0.2.1:15009 15001
			proxy's outbound tcp 1337:1000 192.0.2.1:15009 not 15001
			inbound tcp outside 10.1.0.7:1000 15006
			proxy to itself tcp 1337:1000 10.1.0.7:15009 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"addresses excluded": {func(c *sidecar.Config) {
			c.Mode = sidecar.ModeTProxy
			c.ExcludedSourceCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}
		}, `
			outbound tcp 1000:1000 203.0.113.1:80 15001
			proxy's outbound tcp 1337:1000 203.0.113.1:80 not 15001
			inbound tcp outside 198.51.100.255 10.1.0.7:80 15006 transparent
			proxy as client tcp 0:1000 198.51.100.255 10.1.0.7:0 mark 1337
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"parts excluded": {func(c *sidecar.Config) {
			c.IncludedPorts = config.PortSelection{}
			c.IncludedCIDRs = config.CIDRSelection{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.255.0.0/16")}
		}, `
			outbound tcp 1000:1000 10.1.0.0:80 15001
			proxy's outbound tcp 1337:1000 10.1.0.0:80 not 15001
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
		"nothing that could be tried": {func(c *sidecar.Config) {
			c.RedirectDNS = true
			c.ExcludedSourceCIDRs = []netip.Prefix{netip.MustParsePrefix("128.0.0.0/1")}
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.0.0/8"), netip.MustParsePrefix("198.0.0.0/8"), netip.MustParsePrefix("203.0.0.0/8")}
			c.ExcludedOutboundPorts = portList(53)
		}, `
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0
			outbound tcp unknown: there are capturing rules, but they match none of the connections considered
			inbound tcp unknown: there are capturing rules, but they match none of the connections considered
			DNS udp unknown: there are capturing rules, but they match none of the connections considered`},
		"nothing but the proxy itself": {func(c *sidecar.Config) {
			c.IncludedPorts, c.IncludedCIDRs = config.PortSelection{}, config.CIDRSelection{}
			c.VirtualInterfaces = []string{"vm0"}
		}, `
			proxy to itself tcp 1337:1000 10.1.0.7:80 15006
			proxy to application tcp 1337:1000 127.0.0.6 10.1.0.7:0`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := sidecar.Default()
			test.change(&cfg)
			h := host.Host{
				Addresses:   []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.1.0.7/24")},
				NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
			}
			want := strings.ReplaceAll(test.want, "\t", "") + "\n"
			planned := cfg.Plan(h).Rules
			for _, rules := range []iptables.Ruleset{form.IPTables(planned), form.Native(planned)} {
				got := "\n"
				attempts, untried := plan(t.Context(), nstest.Here(t), Want{Rules: rules, Ownership: sidecar.Ownership(), Policy: sidecar.Policy{}, Addresses: h.Addresses})
				for _, a := range attempts {
					got += describe(a) + "\n"
				}
				for _, s := range untried {
					got += fmt.Sprintf("%s %s %s: %s\n", s.Name, s.Protocol, s.Outcome, s.Detail)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("want (-), got (+):\n%s\n%s", diff, rules.Save(iptables.IPv4))
				}
			}
		})
	}
}

// inbound describes connections to so many ports.
func inbound(port, step, n int) string {
	text := ""
	for i := range n {
		text += fmt.Sprintf("\ninbound tcp outside 10.1.0.7:%d 15006", port+step*i)
	}
	return text
}

// longOutbound describes connections to 16 ports, to 16 networks and by 16 groups.
func longOutbound() string {
	const first = "192.0.2.1:5000"
	text := "\noutbound tcp 1000:50 " + first + " 15001\nproxy's outbound tcp 1337:1000 " + first + " not 15001"
	for i := 1; i < 16; i++ {
		text += fmt.Sprintf("\noutbound tcp 1000:50 192.0.2.1:%d 15001", 5000+2*i)
	}
	for i := range 16 {
		text += fmt.Sprintf("\noutbound tcp 1000:50 10.%d.0.0:80 15001", 2*i)
	}
	for i := 1; i < 16; i++ {
		text += fmt.Sprintf("\noutbound tcp 1000:%d %s 15001", 50+2*i, first)
	}
	return text
}

func portList(all ...uint16) []iptables.PortRange {
	var ranges []iptables.PortRange
	for _, port := range all {
		ranges = append(ranges, iptables.Port(port))
	}
	return ranges
}

func describe(a *attempt) string {
	words := fmt.Sprintf("%s %s", a.name, a.protocol)
	if a.isOutside() {
		words += " outside"
		if a.by.far != netip.MustParseAddr("192.0.2.255") {
			words += " " + a.by.far.String()
		}
	} else {
		words += fmt.Sprintf(" %d:%d", a.who.uid, a.who.gid)
	}
	if a.from.IsValid() {
		words += " " + a.from.String()
	}
	words += " " + a.to.String()
	if a.want != 0 {
		words += fmt.Sprintf(" %d", a.want)
	}
	if a.instead != 0 {
		words += fmt.Sprintf(" not %d", a.instead)
	}
	if a.mark != 0 {
		words += fmt.Sprintf(" mark %d", a.mark)
	}
	if a.transparent {
		words += " transparent"
	}
	return words
}

// Foreign rules do not change what has to happen, and where there is nothing of
// ours, nothing has to.
func TestPlanForeign(t *testing.T) {
	t.Parallel()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(
		"*nat\n:OUTPUT DROP [0:0]\n:OTHER - [0:0]\n-A OUTPUT -m unheard --of it -j OTHER\n-A OTHER -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n"))
	if err != nil {
		t.Fatal(err)
	}
	if attempts, untried := plan(t.Context(), nstest.Here(t), Want{Rules: iptables.Ruleset{Tables: tables}, Ownership: sidecar.Ownership(), Policy: sidecar.Policy{}}); len(attempts)+len(untried) != 0 {
		t.Errorf("plans %d attempts and leaves %d", len(attempts), len(untried))
	}
}
