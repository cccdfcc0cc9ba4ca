package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Options are the options of the policy, with what is given for them. The zero value is
// ready to use.
type Options struct {
	cfg Config
	// dualStack is what --dual-stack says; it ends up in IPv6.
	dualStack bool
	sources   config.Sources
	// pod is what the pod's annotations say in Istio's own form.
	pod proxyConfig
}

// Variables returns how Istio's variables begin, and those of its agent, which the injector
// and the users set for the proxy.
func (o *Options) Variables() (reference, foreign []string) {
	return []string{"ISTIO_"}, []string{"ISTIO_META_", "ISTIO_AGENT"}
}

// Read returns what the flags and the other sources ask for; see [config.Flags.Read]. The
// flags must be made from Rows.
//
// The warnings, a sentence each, are about values that have no effect or are likely a
// mistake. A hint is on a line of its own. The error has all
// errors of all sources, one a line (see [errors.Join]).
func (o *Options) Read(flags *config.Flags, src config.Sources) (Config, []string, error) {
	// What cannot be read is reported below.
	notes, _ := src.AllAnnotations()
	pod, err := parseProxyConfig(notes)
	src.Implied = pod.implied(o)
	*o = Options{sources: src, pod: pod}
	r := reading{flags.Read(src), &o.cfg, o}
	if err != nil {
		r.Fail(err)
	}
	r.applyProxyUser()
	r.applyOwnPorts()
	capture.ApplyDualStack(r.Reading, o.dualStack, &r.IPv6)
	r.applyNameServers()
	r.checkMark()
	if err := r.Err(); err != nil {
		return Config{}, nil, err
	}
	r.warn()
	return o.cfg, r.Warnings(), nil
}

// reading is a Config under construction, with what is given and where.
type reading struct {
	*config.Reading
	*Config
	options *Options
}

// trafficPrefix starts the annotations that are only about capturing.
const trafficPrefix = "traffic.sidecar.istio.io/"

// Rows returns the options that say what is captured and how, in the order of --help.
// Flags, environment, annotations and documentation all follow from these rows.
func (o *Options) Rows() []config.Row {
	c := &o.cfg
	return []config.Row{
		{Option: config.Option{
			Name: "outbound-port", Group: "the proxy", Reference: []string{"envoy-port"}, Letter: "p", Default: "15001",
			Usage: "where the proxy accepts outbound connections",
		}, Value: config.Port(&c.OutboundPort)},
		{Option: config.Option{
			Name: "inbound-port", Group: "the proxy", Reference: []string{"inbound-capture-port"}, Letter: "z", Default: "15006",
			Usage: "where the proxy accepts inbound connections",
		}, Value: config.Port(&c.InboundPort)},
		{Option: config.Option{
			Name: "tunnel-port", Group: "the proxy", Reference: []string{"inbound-tunnel-port"}, Letter: "e", Default: "15008",
			Usage: "where the proxy accepts tunnelled connections (HBONE), which REDIRECT leaves alone; with TPROXY name the port in --excluded-ports too",
		}, Value: config.Port(&c.TunnelPort)},
		{Option: config.Option{
			Name: "proxy-uid", Group: "the proxy", Shared: true, Letter: "u",
			Usage: "users that the proxy runs as, names or numbers (default user istio-proxy, or $" + proxyUserVariable + "; 1337 if there is none)",
		}, Value: config.UserIDs(&c.ProxyUIDs, o.sources.UserID)},
		{Option: config.Option{
			Name: "proxy-gid", Group: "the proxy", Shared: true, Letter: "g",
			Usage: "groups that the proxy runs as, names or numbers (default the numbers of --proxy-uid)",
		}, Value: config.GroupIDs(&c.ProxyGIDs, o.sources.GroupID)},
		{Option: config.Option{
			Name: "mode", Group: "inbound", Reference: []string{"istio-inbound-interception-mode"}, Letter: "m", Default: string(ModeRedirect),
			Annotations: []string{modeAnnotation}, Example: string(ModeTProxy),
			Usage: "how inbound connections get to the proxy: REDIRECT, or TPROXY, which keeps their source address",
		}, Value: config.Choice("mode", &c.Mode, ModeRedirect, ModeTProxy)},
		{Option: config.Option{
			Name: "included-ports", Group: "inbound", Reference: []string{"istio-inbound-ports"}, Letter: "b", Default: config.Everything,
			Annotations: []string{trafficPrefix + "includeInboundPorts"},
			Usage:       "inbound ports to capture: * for all, a list, or empty for none",
		}, Value: config.SelectedPorts(&c.IncludedPorts)},
		{Option: config.Option{
			Name: "excluded-ports", Group: "inbound", Reference: []string{"istio-local-exclude-ports"}, Letter: "d", Default: ownPorts,
			Annotations: []string{trafficPrefix + "excludeInboundPorts"},
			Usage:       "inbound ports to leave alone when all others are captured; the annotation adds to the default",
		}, Value: config.Ports(&c.ExcludedPorts)},
		{Option: config.Option{
			Name: "included-outbound-ports", Group: "outbound", Reference: []string{"istio-outbound-ports"}, Letter: "q",
			Annotations: []string{trafficPrefix + "includeOutboundPorts"},
			Usage:       "outbound ports to capture whatever the address",
		}, Value: config.Ports(&c.IncludedOutboundPorts)},
		{Option: config.Option{
			Name: "excluded-outbound-ports", Group: "outbound", Reference: []string{"istio-local-outbound-ports-exclude"}, Letter: "o",
			Annotations: []string{trafficPrefix + "excludeOutboundPorts"},
			Usage:       "outbound ports never to capture",
		}, Value: config.Ports(&c.ExcludedOutboundPorts)},
		{Option: config.Option{
			Name: "included-cidrs", Group: "outbound", Reference: []string{"istio-service-cidr"}, Letter: "i", Default: config.Everything,
			Annotations: []string{trafficPrefix + "includeOutboundIPRanges"},
			Usage:       "outbound destinations to capture: * for all, a list, or empty for none",
		}, Value: config.SelectedCIDRs(&c.IncludedCIDRs)},
		{Option: config.Option{
			Name: "excluded-cidrs", Group: "outbound", Reference: []string{"istio-service-exclude-cidr"}, Letter: "x",
			Annotations: []string{trafficPrefix + "excludeOutboundIPRanges"},
			Usage:       "outbound destinations to leave alone",
		}, Value: config.CIDRs(&c.ExcludedCIDRs)},
		{Option: config.Option{
			Name: "excluded-source-cidrs", Group: "inbound",
			Usage: "clients whose inbound connections to leave alone",
		}, Value: config.CIDRs(&c.ExcludedSourceCIDRs)},
		{Option: config.Option{
			Name: "excluded-uids", Group: "outbound",
			Annotations: []string{capture.ExcludedUIDs},
			Usage: "users whose outbound traffic to leave alone: [tcp:|udp:][ports:]user, such as udp:53:1000; " +
				"a user is a name, a number or a range of numbers",
		}, Value: userTraffic(&c.ExcludedUIDs, o.sources.UserID)},
		{Option: config.Option{
			Name: "excluded-interfaces", Group: "interfaces", Reference: []string{"istio-exclude-interfaces"}, Letter: "c",
			Annotations: []string{trafficPrefix + "excludeInterfaces"},
			Usage:       "interfaces to leave alone in both directions; a trailing * matches any rest of a name",
		}, Value: config.Interfaces(&c.ExcludedInterfaces)},
		{Option: config.Option{
			Name: "virtual-interfaces", Group: "interfaces", Reference: []string{"kube-virt-interfaces"}, Letter: "k",
			Annotations: []string{"istio.io/reroute-virtual-interfaces", trafficPrefix + "kubevirtInterfaces"},
			Usage:       "interfaces of virtual machines and of containers in the pod: what comes in from them is outbound traffic; docker* matches any rest of a name, auto is the usual ones",
		}, Value: config.Interfaces(&c.VirtualInterfaces)},
		{Option: config.Option{
			Name: "tproxy-mark", Group: "inbound", Reference: []string{"istio-inbound-tproxy-mark"}, Letter: "t", Default: "1337",
			Usage: "mark of the packets that TPROXY hands to the proxy",
		}, Value: config.Number(&c.TProxyMark)},
		{Option: config.Option{
			Name: "tproxy-table", Group: "inbound", Reference: []string{"istio-inbound-tproxy-route-table"}, Letter: "r", Default: "133",
			Usage: "routing table that delivers those packets",
		}, Value: config.RoutingTable(&c.TProxyTable)},
		{Option: config.Option{
			Name: "redirect-dns", Group: "DNS", Shared: true, Env: []string{"ISTIO_META_DNS_CAPTURE"}, Default: "false",
			Usage: "capture DNS queries to the servers of resolv.conf",
		}, Value: config.Bool(&c.RedirectDNS)},
		{Option: config.Option{
			Name: "capture-all-dns", Group: "DNS", Shared: true, Default: "false",
			Usage: "with --redirect-dns, capture queries to any server",
		}, Value: config.Bool(&c.CaptureAllDNS)},
		{Option: config.Option{
			Name: "dns-port", Group: "DNS", Default: "15053",
			Usage: "where the proxy answers DNS queries",
		}, Value: config.Port(&c.DNSPort)},
		capture.RedirectVirtualDNSRow(&c.RedirectVirtualDNS),
		{Option: config.Option{
			Name: "included-groups", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS"}, Default: config.Everything,
			Usage: "groups whose outbound traffic to capture, names or numbers: * for all, or a list",
		}, Value: config.SelectedGroups(&c.IncludedGroups, o.sources.GroupID, MaxIncludedGroups)},
		{Option: config.Option{
			Name: "excluded-groups", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
			Usage: "groups whose outbound traffic to leave alone when all other groups are captured",
		}, Value: config.GroupIDs(&c.ExcludedGroups, o.sources.GroupID)},
		{Option: config.Option{
			Name: "loopback-cidr", Group: "outbound", Env: []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}, Default: "127.0.0.1/32",
			Usage: "IPv4 addresses that count as the pod itself",
		}, Value: config.CIDRWithin(&c.LoopbackCIDR, netip.MustParsePrefix("127.0.0.0/8"))},
		{Option: config.Option{
			Name: "drop-invalid", Group: "all rules", Shared: true, Env: []string{"INVALID_DROP"}, Default: "false",
			Usage: "drop packets that connection tracking cannot place",
		}, Value: config.Bool(&c.DropInvalid)},
		capture.IPv6Row(&c.IPv6, "capture IPv6"),
		capture.CommentsRow(&c.Comments),
		{Option: config.Option{
			Name: "dual-stack", Group: "all rules", Shared: true, Env: []string{"ISTIO_DUAL_STACK"}, Default: "false", Hidden: true,
			Usage: "as --ipv6=on",
		}, Value: config.Bool(&o.dualStack)},
	}
}
