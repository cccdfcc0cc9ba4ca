package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// Presume implements [capture.Policy]. Rules for IPv4 alone are not enough if IPv6 is
// captured by default, since it would be a way around the proxy; that somebody asked for
// --ipv6=off is nowhere in the rules. Neither is the routing table.
func (Policy) Presume(found capture.Recognised, lookups []iptables.Lookup) capture.Wanted {
	c := found.Wanted.(Config)
	c.Comments = found.Commented
	if c.IPv6 == capture.IPv6Off {
		c.IPv6 = capture.IPv6Auto
	}
	for _, l := range lookups {
		if l.Mark == c.ConnectionMark.Value && l.Mask == c.ConnectionMark.Mask {
			c.RoutingTable = l.Table
			break
		}
	}
	return c
}
