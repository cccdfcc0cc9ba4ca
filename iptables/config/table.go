package config

import (
	"net/netip"

	"github.com/spf13/pflag"
)

// captureOptions returns the options that say what is captured and how, in the
// order of --help. Flags, environment, annotations and documentation all follow
// from these rows.
func captureOptions() []captureOption {
	return []captureOption{
		{Option{
			Name: "outbound-port", Group: "the proxy", Reference: []string{"envoy-port"}, Letter: "p", Default: "15001",
			Usage: "where the proxy accepts outbound connections",
		}, func(d *draft) pflag.Value { return Port(&d.OutboundPort) }},
		{Option{
			Name: "inbound-port", Group: "the proxy", Reference: []string{"inbound-capture-port"}, Letter: "z", Default: "15006",
			Usage: "where the proxy accepts inbound connections",
		}, func(d *draft) pflag.Value { return Port(&d.InboundPort) }},
		{Option{
			Name: "tunnel-port", Group: "the proxy", Reference: []string{"inbound-tunnel-port"}, Letter: "e", Default: "15008",
			Usage: "where the proxy accepts tunnelled connections (HBONE), which REDIRECT leaves alone; with TPROXY name the port in --excluded-ports too",
		}, func(d *draft) pflag.Value { return Port(&d.TunnelPort) }},
		{Option{
			Name: "proxy-uid", Group: "the proxy", Shared: true, Letter: "u",
			Usage: "users that the proxy runs as, names or numbers (default user istio-proxy, or $" + proxyUserVariable + "; 1337 if there is none)",
		}, func(d *draft) pflag.Value { return UserIDs(&d.ProxyUIDs, d.userID) }},
		{Option{
			Name: "proxy-gid", Group: "the proxy", Shared: true, Letter: "g",
			Usage: "groups that the proxy runs as, names or numbers (default the numbers of --proxy-uid)",
		}, func(d *draft) pflag.Value { return GroupIDs(&d.ProxyGIDs, d.groupID) }},
		{Option{
			Name: "mode", Group: "inbound", Reference: []string{"istio-inbound-interception-mode"}, Letter: "m", Default: string(ModeRedirect),
			Annotation: "sidecar.istio.io/interceptionMode",
			Usage:      "how inbound connections get to the proxy: REDIRECT, or TPROXY, which keeps their source address",
		}, func(d *draft) pflag.Value { return Choice("mode", &d.Mode, ModeRedirect, ModeTProxy) }},
		{Option{
			Name: "included-ports", Group: "inbound", Reference: []string{"istio-inbound-ports"}, Letter: "b", Default: Everything,
			Annotation: trafficPrefix + "includeInboundPorts",
			Usage:      "inbound ports to capture: * for all, a list, or empty for none",
		}, func(d *draft) pflag.Value { return SelectedPorts(&d.IncludedPorts) }},
		{Option{
			Name: "excluded-ports", Group: "inbound", Reference: []string{"istio-local-exclude-ports"}, Letter: "d", Default: "15020,15021,15090",
			Annotation: trafficPrefix + "excludeInboundPorts",
			Usage:      "inbound ports to leave alone when all others are captured; the annotation adds to the default",
		}, func(d *draft) pflag.Value { return Ports(&d.ExcludedPorts) }},
		{Option{
			Name: "included-outbound-ports", Group: "outbound", Reference: []string{"istio-outbound-ports"}, Letter: "q",
			Annotation: trafficPrefix + "includeOutboundPorts",
			Usage:      "outbound ports to capture whatever the address",
		}, func(d *draft) pflag.Value { return Ports(&d.IncludedOutboundPorts) }},
		{Option{
			Name: "excluded-outbound-ports", Group: "outbound", Reference: []string{"istio-local-outbound-ports-exclude"}, Letter: "o",
			Annotation: trafficPrefix + "excludeOutboundPorts",
			Usage:      "outbound ports never to capture",
		}, func(d *draft) pflag.Value { return Ports(&d.ExcludedOutboundPorts) }},
		{Option{
			Name: "included-cidrs", Group: "outbound", Reference: []string{"istio-service-cidr"}, Letter: "i", Default: Everything,
			Annotation: trafficPrefix + "includeOutboundIPRanges",
			Usage:      "outbound destinations to capture: * for all, a list, or empty for none",
		}, func(d *draft) pflag.Value { return SelectedCIDRs(&d.IncludedCIDRs) }},
		{Option{
			Name: "excluded-cidrs", Group: "outbound", Reference: []string{"istio-service-exclude-cidr"}, Letter: "x",
			Annotation: trafficPrefix + "excludeOutboundIPRanges",
			Usage:      "outbound destinations to leave alone",
		}, func(d *draft) pflag.Value { return CIDRs(&d.ExcludedCIDRs) }},
		{Option{
			Name: "excluded-source-cidrs", Group: "inbound",
			Usage: "clients whose inbound connections to leave alone",
		}, func(d *draft) pflag.Value { return CIDRs(&d.ExcludedSourceCIDRs) }},
		{Option{
			Name: "excluded-uids", Group: "outbound",
			Usage: "users whose outbound traffic to leave alone: [tcp:|udp:][ports:]user, such as udp:53:1000; " +
				"a user is a name, a number or a range of numbers",
		}, func(d *draft) pflag.Value { return userTraffic(&d.ExcludedUIDs, d.userID) }},
		{Option{
			Name: "excluded-interfaces", Group: "interfaces", Reference: []string{"istio-exclude-interfaces"}, Letter: "c",
			Annotation: trafficPrefix + "excludeInterfaces",
			Usage:      "interfaces to leave alone in both directions; a trailing + stands for any rest",
		}, func(d *draft) pflag.Value { return Interfaces(&d.ExcludedInterfaces) }},
		{Option{
			Name: "virtual-interfaces", Group: "interfaces", Reference: []string{"kube-virt-interfaces"}, Letter: "k",
			Annotation: trafficPrefix + "kubevirtInterfaces",
			Usage:      "interfaces of virtual machines: what comes in from them is outbound traffic",
		}, func(d *draft) pflag.Value { return Interfaces(&d.VirtualInterfaces) }},
		{Option{
			Name: "tproxy-mark", Group: "inbound", Reference: []string{"istio-inbound-tproxy-mark"}, Letter: "t", Default: "1337",
			Usage: "mark of the packets that TPROXY hands to the proxy",
		}, func(d *draft) pflag.Value { return Number(&d.TProxyMark) }},
		{Option{
			Name: "tproxy-table", Group: "inbound", Reference: []string{"istio-inbound-tproxy-route-table"}, Letter: "r", Default: "133",
			Usage: "routing table that delivers those packets",
		}, func(d *draft) pflag.Value { return RoutingTable(&d.TProxyTable) }},
		{Option{
			Name: "redirect-dns", Group: "DNS", Shared: true, Env: []string{"ISTIO_META_DNS_CAPTURE"}, Default: "false",
			Usage: "send DNS queries for the servers of resolv.conf to the proxy",
		}, func(d *draft) pflag.Value { return Bool(&d.RedirectDNS) }},
		{Option{
			Name: "capture-all-dns", Group: "DNS", Shared: true, Default: "false",
			Usage: "with --redirect-dns: those for any server",
		}, func(d *draft) pflag.Value { return Bool(&d.CaptureAllDNS) }},
		{Option{
			Name: "dns-port", Group: "DNS", Default: "15053",
			Usage: "where the proxy answers DNS queries",
		}, func(d *draft) pflag.Value { return Port(&d.DNSPort) }},
		{Option{
			Name: "included-groups", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS"}, Default: Everything,
			Usage: "groups whose outbound traffic to capture, names or numbers: * for all, or a list",
		}, func(d *draft) pflag.Value { return SelectedGroups(&d.IncludedGroups, d.groupID, MaxIncludedGroups) }},
		{Option{
			Name: "excluded-groups", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
			Usage: "groups whose outbound traffic to leave alone when that of all others is captured",
		}, func(d *draft) pflag.Value { return GroupIDs(&d.ExcludedGroups, d.groupID) }},
		{Option{
			Name: "loopback-cidr", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}, Default: "127.0.0.1/32",
			Usage: "IPv4 addresses that are the pod itself",
		}, func(d *draft) pflag.Value { return CIDRWithin(&d.LoopbackCIDR, netip.MustParsePrefix("127.0.0.0/8")) }},
		{Option{
			Name: "drop-invalid", Group: "all rules", Shared: true, Env: []string{"INVALID_DROP"}, Default: "false",
			Usage: "drop packets that connection tracking cannot place",
		}, func(d *draft) pflag.Value { return Bool(&d.DropInvalid) }},
		{Option{
			Name: "ipv6", Group: "all rules", Default: string(IPv6Auto),
			Usage: "capture IPv6: on, off, or auto for on where the namespace has a global IPv6 address",
		}, func(d *draft) pflag.Value { return Choice("when", &d.IPv6, IPv6Auto, IPv6On, IPv6Off) }},
		{Option{
			Name: "comments", Group: "all rules", Default: "false",
			Usage: "give each rule a comment that says which option it comes from",
		}, func(d *draft) pflag.Value { return Bool(&d.Comments) }},
		{Option{
			Name: "dual-stack", Group: "all rules", Shared: true, Env: []string{"ISTIO_DUAL_STACK"}, Default: "false", Hidden: true,
			Usage: "as --ipv6=on",
		}, func(d *draft) pflag.Value { return Bool(&d.dualStack) }},
	}
}
