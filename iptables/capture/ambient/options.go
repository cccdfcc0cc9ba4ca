package ambient

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Options are the options of the policy, with what is given for them. The zero value is
// ready to use.
type Options struct {
	cfg Config
	// dualStack is what --dual-stack says; it ends up in IPv6.
	dualStack bool
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
// mistake. A hint is on a line of its own. The error has all errors of all sources, one a
// line (see [errors.Join]).
func (o *Options) Read(flags *config.Flags, src config.Sources) (Config, []string, error) {
	*o = Options{}
	r := reading{flags.Read(src), &o.cfg}
	r.applyBypass()
	r.applyDNSCapture()
	capture.ApplyDualStack(r.Reading, o.dualStack, &r.IPv6)
	r.checkMarks()
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
}

// Rows returns the options that say what is captured and how, in the order of --help, then
// hidden ones. The names, letters and variables that istio-iptables has for an option work
// here too.
func (o *Options) Rows() []config.Row {
	c := &o.cfg
	return append([]config.Row{
		{Option: config.Option{
			Name: "outbound-port", Group: "the proxy", Reference: []string{"envoy-port"}, Letter: "p", Default: "15001",
			Usage: "where the proxy accepts outbound connections",
		}, Value: config.Port(&c.OutboundPort)},
		{Option: config.Option{
			Name: "inbound-port", Group: "the proxy", Reference: []string{"inbound-capture-port"}, Letter: "z", Default: "15006",
			Usage: "where the proxy accepts inbound connections in plain text",
		}, Value: config.Port(&c.InboundPort)},
		{Option: config.Option{
			Name: "tunnel-port", Group: "the proxy", Reference: []string{"inbound-tunnel-port"}, Letter: "e", Default: "15008",
			Usage: "where the proxy accepts tunnelled connections (HBONE), which are left alone",
		}, Value: config.Port(&c.TunnelPort)},
		{Option: config.Option{
			Name: "proxy-mark", Group: "the proxy", Default: "0x539/0xfff",
			Usage: "mark, with or without a mask, of what the proxy sends: that is how it is known",
		}, Value: config.Mark(&c.ProxyMark)},
		{Option: config.Option{
			Name: "connection-mark", Group: "the proxy", Default: "0x111/0xfff",
			Usage: "mark, with or without a mask, of the proxy's connections to the application",
		}, Value: config.Mark(&c.ConnectionMark)},
		{Option: config.Option{
			Name: "routing-table", Group: "the proxy", Default: "100",
			Usage: "routing table that delivers the answers of the application to the proxy",
		}, Value: config.RoutingTable(&c.RoutingTable)},
		HostProbeRow(&c.HostProbe),
		{Option: config.Option{
			Name: "included-ports", Group: "inbound", Reference: []string{"istio-inbound-ports"}, Letter: "b", Default: config.Everything,
			Example: "80,443",
			Usage:   "inbound ports to capture: * for all, a list, or empty for none, as a gateway needs it",
		}, Value: config.SelectedPorts(&c.IncludedPorts)},
		{Option: config.Option{
			Name: "excluded-ports", Group: "inbound", Reference: []string{"istio-local-exclude-ports"}, Letter: "d",
			Usage: "inbound ports to leave alone when all others are captured",
		}, Value: config.Ports(&c.ExcludedPorts)},
		{Option: config.Option{
			Name: "excluded-source-cidrs", Group: "inbound",
			Usage: "clients whose inbound connections to leave alone",
		}, Value: config.CIDRs(&c.ExcludedSourceCIDRs)},
		{Option: config.Option{
			Name: "included-outbound-ports", Group: "outbound", Reference: []string{"istio-outbound-ports"}, Letter: "q",
			Usage: "outbound ports to capture whatever the address",
		}, Value: config.Ports(&c.IncludedOutboundPorts)},
		{Option: config.Option{
			Name: "excluded-outbound-ports", Group: "outbound", Reference: []string{"istio-local-outbound-ports-exclude"}, Letter: "o",
			Usage: "outbound ports never to capture",
		}, Value: config.Ports(&c.ExcludedOutboundPorts)},
		{Option: config.Option{
			Name: "included-cidrs", Group: "outbound", Reference: []string{"istio-service-cidr"}, Letter: "i", Default: config.Everything,
			Usage: "outbound destinations to capture: * for all, a list, or empty for none",
		}, Value: config.SelectedCIDRs(&c.IncludedCIDRs)},
		{Option: config.Option{
			Name: "excluded-cidrs", Group: "outbound", Reference: []string{"istio-service-exclude-cidr"}, Letter: "x",
			Usage: "outbound destinations to leave alone",
		}, Value: config.CIDRs(&c.ExcludedCIDRs)},
		{Option: config.Option{
			Name: "excluded-interfaces", Group: "interfaces", Reference: []string{"istio-exclude-interfaces"}, Letter: "c",
			Usage: "interfaces to leave alone in both directions; a trailing * matches any rest of a name",
		}, Value: config.Interfaces(&c.ExcludedInterfaces)},
		{Option: config.Option{
			Name: "virtual-interfaces", Group: "interfaces", Reference: []string{"kube-virt-interfaces"}, Letter: "k",
			Annotations: []string{"istio.io/reroute-virtual-interfaces"},
			Usage:       "interfaces of virtual machines and of containers in the pod: what comes in from them is outbound traffic; docker* matches any rest of a name, auto is the usual ones",
		}, Value: config.Interfaces(&c.VirtualInterfaces)},
		{Option: config.Option{
			Name: "redirect-dns", Group: "DNS", Shared: true, Default: "false", Annotations: []string{dnsCaptureAnnotation},
			Usage: "capture DNS queries, whatever the server; the annotation overrides what is given elsewhere",
		}, Value: config.Bool(&c.RedirectDNS)},
		{Option: config.Option{
			Name: "dns-port", Group: "DNS", Default: "15053",
			Usage: "where the proxy answers DNS queries",
		}, Value: config.Port(&c.DNSPort)},
		capture.RedirectVirtualDNSRow(&c.RedirectVirtualDNS),
		capture.IPv6Row(&c.IPv6, "capture IPv6"),
		capture.CommentsRow(&c.Comments),
		{Option: config.Option{
			Name: "dual-stack", Group: "all rules", Shared: true, Env: []string{"ISTIO_DUAL_STACK"}, Default: "false", Hidden: true,
			Usage: "as --ipv6=on",
		}, Value: config.Bool(&o.dualStack)},
	}, refusedRows()...)
}
