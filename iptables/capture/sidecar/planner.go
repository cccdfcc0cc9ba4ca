package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// The chains. The first four of nat always exist, because the proxy's agent and people
// look for them.
const (
	chainInbound    = "ISTIO_INBOUND"     // decides about inbound connections
	chainInRedirect = "ISTIO_IN_REDIRECT" // sends to the inbound port
	chainOutput     = "ISTIO_OUTPUT"      // decides about outbound connections
	chainRedirect   = "ISTIO_REDIRECT"    // sends to the outbound port
	chainOutputDNS  = "ISTIO_OUTPUT_DNS"  // decides about DNS queries
	chainPrerouting = "ISTIO_PREROUTING"  // comes before ISTIO_INBOUND if there is more to do
	chainTProxy     = "ISTIO_TPROXY"      // hands to the inbound port by TPROXY
	chainDivert     = "ISTIO_DIVERT"      // keeps captured connections captured
	chainDrop       = "ISTIO_DROP"        // drops invalid packets
)

// planner collects the rules.
type planner struct {
	cfg      Config
	families []iptables.Family
	dns      dnsPlan
	// virtual are the interfaces of virtual machines.
	virtual []string

	raw, mangle, nat iptables.PlannedTable
}

func newPlanner(cfg Config, families []iptables.Family, dns dnsPlan, h host.Host) *planner {
	return &planner{
		cfg: cfg, families: families, dns: dns, virtual: cfg.TakesFrom(h),
		raw:    iptables.PlannedTable{Name: iptables.Raw},
		mangle: iptables.PlannedTable{Name: iptables.Mangle},
		nat:    iptables.PlannedTable{Name: iptables.Nat},
	}
}

// tables returns the tables that have rules.
func (p *planner) tables() []iptables.PlannedTable {
	p.nat.Make(chainInbound, chainInRedirect, chainOutput, chainRedirect)
	p.natTargets(&p.nat)
	p.natInbound(&p.nat)
	p.natOutput(&p.nat)
	tables := []iptables.PlannedTable{p.nat}

	if p.cfg.DropInvalid || p.cfg.Mode == ModeTProxy {
		p.dropInvalid(&p.mangle)
		p.tproxy(&p.mangle)
		tables = append(tables, p.mangle)
	}
	if p.dns.enabled {
		p.dnsZones(&p.raw)
		tables = append(tables, p.raw)
	}
	return tables
}

func (p *planner) dropInvalid(mangle *iptables.PlannedTable) {
	if !p.cfg.DropInvalid {
		return
	}
	why := capture.From("--drop-invalid", "")
	mangle.Append(iptables.Prerouting, why.Rule(iptables.Jump{Chain: chainDrop}, capture.State(iptables.StateInvalid)))
	// An excluded interface is left alone in every respect.
	p.skipInterfaces(mangle, chainDrop, iptables.InInterface)
	mangle.Append(chainDrop, why.Rule(iptables.Drop))
}

// perFamily returns a rule for each captured family; see [capture.PerFamily].
func (p *planner) perFamily(rule func(iptables.Family) iptables.PlannedRule) []iptables.PlannedRule {
	return capture.PerFamily(p.families, rule)
}

// loopback is what counts as the pod itself.
func (p *planner) loopback(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return wholeLoopback(f)
	}
	return p.cfg.LoopbackCIDR
}
