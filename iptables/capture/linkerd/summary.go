package linkerd

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Summarise implements [capture.Wanted].
func (c Config) Summarise(h host.Host, listed int) capture.Summary {
	in := summariser{capture.Summariser{Listed: listed}, c}
	out := in
	in.inbound()
	out.outbound()
	return capture.Summary{Families: c.families(h), Mode: Name, Inbound: in.Lines, Outbound: out.Lines}
}

type summariser struct {
	capture.Summariser
	Config
}

func (s *summariser) inbound() {
	if !s.selection().CapturesInbound() {
		s.Exempt("everything", s.Option("included-ports", ""))
		return
	}
	s.ExemptList("from %s", "excluded-source-cidrs", capture.JoinPrefixes(s.ExcludedSourceCIDRs))
	s.ExemptList("tcp to port %s", "excluded-ports", capture.JoinPorts(s.ExcludedPorts))
	if s.IncludedPorts.All {
		s.Captured(s.InboundPort, "all other tcp", s.Option("included-ports", "*"))
		s.Exempt("everything else", "the proxy takes tcp only")
		return
	}
	ports := capture.JoinPorts(s.IncludedPorts.Ports)
	s.Captured(s.InboundPort, "tcp to port "+s.Words(ports), s.Option("included-ports", ports))
	s.Exempt("everything else", s.Option("included-ports", ports))
}

func (s *summariser) outbound() {
	uids, gids := capture.JoinIDs(s.ProxyUIDs), capture.JoinIDs(s.ProxyGIDs)
	s.Exempt("by user "+s.Words(uids), "the proxy's: "+s.Option("proxy-uid", uids))
	if gids != "" {
		s.Exempt("by group "+s.Words(gids), "the proxy's: "+s.Option("proxy-gid", gids))
	}
	s.Exempt("to the pod itself", "does not leave the pod")
	s.ExemptList("to %s", "excluded-cidrs", capture.JoinPrefixes(s.ExcludedCIDRs))
	s.ExemptList("tcp to port %s", "excluded-outbound-ports", capture.JoinPorts(s.ExcludedOutboundPorts))
	s.Captured(s.OutboundPort, "all other tcp", fmt.Sprintf("--outbound-port=%d", s.OutboundPort))
	s.Exempt("everything else", "the proxy takes tcp only")
}
