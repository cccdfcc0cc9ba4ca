// Package ambient is the policy of Istio's ambient mode inside a pod. It makes rules from
// options, and reads options back from rules.
//
// There is no sidecar: a proxy of the node (ztunnel) opens its sockets in the network
// namespace of each pod. What it sends has a mark, and that is how rules know it, not by a
// user.
//
// [Config.Plan] is a pure function. Each rule carries the option that it comes from. In
// iptables' form the rules are the reference's (Istio's CNI agent) to the letter, unless an
// option is given that the reference does not have.
package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Plan returns what the options ask for, in a namespace with the addresses of h.
func (c Config) Plan(h host.Host) capture.Capture {
	families := c.families(h)
	return capture.Capture{
		Rules: iptables.Plan{
			Families: families,
			Comments: c.Comments,
			Tables:   newPlanner(c, families, h).tables(),
		},
		Routing:  planRouting(c, families),
		Sysctls:  c.selection().PortClash(h),
		Warnings: warnings(c, h, families),
	}
}

func (c Config) families(h host.Host) []iptables.Family { return c.IPv6.Families(h, Ownership()) }

// rulePriority is the place of the policy rule: before the main table, which is at 32766
// (fib_default_rules_init in net/ipv4/fib_rules.c). It is a constant in the reference.
const rulePriority = 32764

// planRouting sends the answers of the application to the proxy, which connects to it from
// the client's address; see planner.marks.
func planRouting(c Config, families []iptables.Family) iptables.Routing {
	return iptables.Routing{
		Mark: c.ConnectionMark.Value, Mask: c.ConnectionMark.Mask, Table: c.RoutingTable, Priority: rulePriority,
		Families: families, TableOption: "--routing-table",
	}
}

func warnings(c Config, h host.Host, families []iptables.Family) []string {
	s := c.selection()
	return append(s.ExtentWarnings(h, families), s.WithoutIPv6(families)...)
}
