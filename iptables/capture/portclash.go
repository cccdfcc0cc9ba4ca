package capture

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
)

// PortClash returns the setting that rules need to redirect inbound connections, with the
// kernel of h.
//
// All connections to a pod end at one port of the proxy. Two of them that come from one address
// and port, to different ports of the pod, can be told apart only by another source port, which
// the kernel gives to the second. Before 6.7 it does that too late: it has looked up the socket
// already (early demultiplexing), and found that of the first connection. The second one's
// packets go there and are dropped. (Linux, "netfilter: nf_nat: undo erroneous tcp edemux lookup
// after port clash".) Without early demultiplexing the socket is looked up afterwards, in both
// families (Documentation/networking/ip-sysctl.rst).
func (s Selection) PortClash(h host.Host) []iptables.Sysctl {
	if !s.CapturesInbound() || !h.Kernel.IsBefore(host.Version{Major: 6, Minor: 7}) {
		return nil
	}
	return []iptables.Sysctl{{
		Name: "net.ipv4.tcp_early_demux", Value: "0",
		Without: fmt.Sprintf("inbound connections from one address and port to several ports of the pod time out (Linux %s)", h.Kernel),
	}}
}
