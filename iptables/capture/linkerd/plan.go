// Package linkerd is the policy of Linkerd's sidecars. It makes rules from options, and reads
// options back from rules.
//
// [Config.Plan] is a pure function. Each rule carries the option that it comes from. In
// iptables' form the rules are the reference's (linkerd2-proxy-init) to the letter, but for
// its comments, unless an option is given that the reference does not have.
package linkerd

import (
	"strconv"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Plan returns what the options ask for, in a namespace with the addresses of h.
func (c Config) Plan(h host.Host) capture.Capture {
	families := c.families(h)
	p := planner{c, families, iptables.PlannedTable{Name: iptables.Nat}}
	p.plan()
	planned := capture.Capture{
		Rules:    iptables.Plan{Families: families, Comments: c.Comments, Tables: []iptables.PlannedTable{p.nat}},
		Warnings: c.selection().WithoutIPv6(families),
		Sysctls:  c.selection().PortClash(h),
	}
	if c.CloseWaitTimeout != 0 {
		planned.Sysctls = append(planned.Sysctls, iptables.Sysctl{
			Name: closeWaitSysctl, Value: strconv.FormatUint(uint64(c.CloseWaitTimeout), 10), Option: optionCloseWait,
		})
	}
	return planned
}

func (c Config) families(h host.Host) []iptables.Family { return c.IPv6.Families(h, Ownership()) }

// closeWaitSysctl is how long conntrack keeps a connection that the peer has closed, in seconds
// (Documentation/networking/nf_conntrack-sysctl.rst).
const closeWaitSysctl = "net.netfilter.nf_conntrack_tcp_timeout_close_wait"
