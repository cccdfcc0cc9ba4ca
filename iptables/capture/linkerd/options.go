package linkerd

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Options are the options of the policy, with what is given for them. The zero value is
// ready to use.
type Options struct {
	cfg     Config
	sources config.Sources
}

// Variables returns nothing: the reference reads no environment.
func (o *Options) Variables() (reference, foreign []string) { return nil, nil }

// Read returns what the flags and the other sources ask for; see [config.Flags.Read]. The
// flags must be made from Rows.
//
// The warnings, a sentence each, are about values that have no effect or are likely a
// mistake. A hint is on a line of its own. The error has all errors of all sources, one a
// line (see [errors.Join]).
func (o *Options) Read(flags *config.Flags, src config.Sources) (Config, []string, error) {
	// What cannot be read is reported below.
	notes, _ := src.AllAnnotations()
	timeout, err := closeWaitOf(notes)
	src.Implied = timeout
	*o = Options{sources: src}
	r := reading{flags.Read(src), &o.cfg}
	if err != nil {
		r.Fail(err)
	}
	r.applyProxyUser()
	r.applyInjectedPorts(notes)
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
// refused ones. The names and letters that linkerd2-proxy-init has for an option work here
// too. Its lists add up if they are given several times, and so do these.
func (o *Options) Rows() []config.Row {
	c := &o.cfg
	return append([]config.Row{
		{Option: config.Option{
			Name: "inbound-port", Group: "the proxy", FlagNames: []string{"incoming-proxy-port"}, Letter: "p", Default: "4143",
			Annotations: []string{prefix + "inbound-port"},
			Usage:       "where the proxy accepts inbound connections",
		}, Value: config.Port(&c.InboundPort)},
		{Option: config.Option{
			Name: "outbound-port", Group: "the proxy", FlagNames: []string{"outgoing-proxy-port"}, Letter: "o", Default: "4140",
			Annotations: []string{prefix + "outbound-port"},
			Usage:       "where the proxy accepts outbound connections",
		}, Value: config.Port(&c.OutboundPort)},
		{Option: config.Option{
			Name: "proxy-uid", Group: "the proxy", Letter: "u", Default: "2102",
			Annotations: []string{prefix + "proxy-uid"},
			Usage:       "users that the proxy runs as, names or numbers",
		}, Value: config.UserIDs(&c.ProxyUIDs, o.sources.UserID)},
		{Option: config.Option{
			Name: "proxy-gid", Group: "the proxy", Letter: "g",
			Annotations: []string{prefix + "proxy-gid"},
			Usage:       "groups that the proxy runs as, names or numbers",
		}, Value: config.GroupIDs(&c.ProxyGIDs, o.sources.GroupID)},
		{Option: config.Option{
			Name: "included-ports", Group: "inbound", FlagNames: []string{"ports-to-redirect"}, Letter: "r", Default: config.Everything, AddsUp: true,
			Example: "80,443",
			Usage:   "inbound ports to capture: * for all, a list, or empty for none",
		}, Value: config.SelectedPorts(&c.IncludedPorts)},
		{Option: config.Option{
			Name: "excluded-ports", Group: "inbound", FlagNames: []string{"inbound-ports-to-ignore"}, AddsUp: true,
			Annotations: []string{skipInbound},
			Usage:       "inbound ports to leave alone, listed ones too",
		}, Value: config.Ports(&c.ExcludedPorts)},
		{Option: config.Option{
			Name: "excluded-source-cidrs", Group: "inbound", FlagNames: []string{"subnets-to-ignore", "inbound-subnets-to-ignore"}, AddsUp: true,
			Annotations: []string{prefix + "skip-subnets", prefix + "skip-inbound-subnets"},
			Usage:       "clients whose inbound connections to leave alone, in either family",
		}, Value: config.CIDRs(&c.ExcludedSourceCIDRs)},
		{Option: config.Option{
			Name: "excluded-outbound-ports", Group: "outbound", FlagNames: []string{"outbound-ports-to-ignore"}, AddsUp: true,
			Annotations: []string{skipOutbound},
			Usage:       "outbound ports to leave alone",
		}, Value: config.Ports(&c.ExcludedOutboundPorts)},
		{Option: config.Option{
			Name: "excluded-cidrs", Group: "outbound", FlagNames: []string{"outbound-subnets-to-ignore"}, Letter: "x", AddsUp: true,
			Annotations: []string{prefix + "skip-outbound-subnets"},
			Usage:       "destinations to leave alone, in either family",
		}, Value: config.CIDRs(&c.ExcludedCIDRs)},
		{Option: config.Option{
			Name: closeWaitName, Group: "the namespace", Default: "0",
			Usage: "set nf_conntrack_tcp_timeout_close_wait of the network namespace to so many seconds; 0 leaves it as it is",
		}, Value: seconds(&c.CloseWaitTimeout)},
		ipv6Row(&c.IPv6),
		capture.CommentsRow(&c.Comments),
	}, refusedRows()...)
}

// ipv6Row is --ipv6, which is a switch in the reference: it needs no value.
func ipv6Row(target *capture.IPv6) config.Row {
	row := capture.IPv6Row(target, "capture IPv6")
	row.Bare = "true"
	return row
}
