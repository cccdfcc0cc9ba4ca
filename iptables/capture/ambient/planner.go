package ambient

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// The chains: each table has the same two. Those of nat always exist.
const (
	chainPrerouting = "ISTIO_PRERT"  // what comes in
	chainOutput     = "ISTIO_OUTPUT" // what the pod sends
)

// planner collects the rules.
type planner struct {
	cfg      Config
	families []iptables.Family
	// virtual are the interfaces of virtual machines.
	virtual []string

	raw, mangle, nat iptables.PlannedTable
}

func newPlanner(cfg Config, families []iptables.Family, h host.Host) *planner {
	return &planner{
		cfg: cfg, families: families, virtual: cfg.TakesFrom(h),
		raw:    iptables.PlannedTable{Name: iptables.Raw},
		mangle: iptables.PlannedTable{Name: iptables.Mangle},
		nat:    iptables.PlannedTable{Name: iptables.Nat},
	}
}

// tables returns the tables that have rules.
func (p *planner) tables() []iptables.PlannedTable {
	p.jumps(&p.nat)
	p.inbound(&p.nat)
	p.outbound(&p.nat)
	p.jumps(&p.mangle)
	p.marks(&p.mangle)
	tables := []iptables.PlannedTable{p.nat, p.mangle}
	if p.cfg.capturesDNS() {
		p.jumps(&p.raw)
		p.zones(&p.raw)
		tables = append(tables, p.raw)
	}
	return tables
}

// jumps makes the chains of a table, and leads packets to them.
func (p *planner) jumps(t *iptables.PlannedTable) {
	t.Make(chainPrerouting, chainOutput)
	t.Append(iptables.Prerouting, capture.BuiltIn("inbound").Rule(iptables.Jump{Chain: chainPrerouting}))
	t.Append(iptables.Output, capture.BuiltIn("outbound").Rule(iptables.Jump{Chain: chainOutput}))
}

// marks makes answers find their way. The proxy connects to the application from the
// client's address, so the answers have the client's as destination. The mark of the proxy's
// packets marks the connection, the connection marks the answers, and routing delivers these
// to the proxy.
func (p *planner) marks(mangle *iptables.PlannedTable) {
	connection := p.cfg.ConnectionMark
	mangle.Append(chainPrerouting, capture.Because("the proxy's connection to the application",
		p.proxyOrigin().Rule(iptables.SetConnmark(connection), capture.Match(p.cfg.proxys()))))
	mangle.Append(chainOutput, capture.Because("answers of the application go back to the proxy",
		p.connectionOrigin().Rule(iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
			capture.Match(iptables.Connmark{Value: connection.Value, Mask: connection.Mask}))))
}

func (p *planner) proxyOrigin() capture.Origin {
	return capture.From("--proxy-mark", p.cfg.ProxyMark)
}

func (p *planner) connectionOrigin() capture.Origin {
	return capture.From("--connection-mark", p.cfg.ConnectionMark)
}

// proxys matches what the proxy sends.
func (c Config) proxys() iptables.Mark {
	return iptables.Mark{Value: c.ProxyMark.Value, Mask: c.ProxyMark.Mask}
}

// notProxys matches what anybody else sends. Every rule that captures has it: what the
// proxy sends would come back to it.
func (p *planner) notProxys() capture.Condition {
	m := p.cfg.proxys()
	m.Not = true
	return capture.Match(m)
}

// perFamily returns a rule for each captured family; see [capture.PerFamily].
func (p *planner) perFamily(rule func(iptables.Family) iptables.PlannedRule) []iptables.PlannedRule {
	return capture.PerFamily(p.families, rule)
}

// loopback is what counts as the pod itself. It is a constant in the reference.
func loopback(f iptables.Family) netip.Prefix { return single(f.Loopback()) }

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// redirect sends connections to a port of the proxy.
func redirect(port uint16) iptables.Target { return iptables.Redirect{Ports: iptables.Port(port)} }
