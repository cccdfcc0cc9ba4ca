package capture

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// The chains. The first four of nat exist whatever the options, so that the
// proxy's agent and people who look for them find them.
const (
	chainInbound    = "ISTIO_INBOUND"     // decides about inbound connections
	chainInRedirect = "ISTIO_IN_REDIRECT" // sends to the inbound port
	chainOutput     = "ISTIO_OUTPUT"      // decides about outbound connections
	chainRedirect   = "ISTIO_REDIRECT"    // sends to the outbound port
	chainOutputDNS  = "ISTIO_OUTPUT_DNS"  // decides about DNS queries
	chainPrerouting = "ISTIO_PREROUTING"  // comes before ISTIO_INBOUND where more than that is to do
	chainTProxy     = "ISTIO_TPROXY"      // hands to the inbound port by TPROXY
	chainDivert     = "ISTIO_DIVERT"      // keeps captured connections captured
	chainDrop       = "ISTIO_DROP"        // drops invalid packets
)

// loopbackInterface is the name Linux gives it in every namespace.
const loopbackInterface = "lo"

// planner collects the rules.
type planner struct {
	cfg      config.Config
	families []iptables.Family
	dns      dnsPlan

	raw, mangle, nat iptables.PlannedTable
}

func newPlanner(cfg config.Config, families []iptables.Family, dns dnsPlan) *planner {
	return &planner{
		cfg: cfg, families: families, dns: dns,
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

	if p.cfg.DropInvalid || p.cfg.Mode == config.ModeTProxy {
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
	why := from("--drop-invalid", "")
	mangle.Append(iptables.Prerouting, why.rule(iptables.Jump{Chain: chainDrop}, conntrack(iptables.StateInvalid)))
	// An excluded interface is left alone in every respect.
	p.skipInterfaces(mangle, chainDrop, iptables.InInterface)
	mangle.Append(chainDrop, why.rule(iptables.Drop))
}

// perFamily returns a rule for each family, and leaves out those that are about an empty
// list.
func (p *planner) perFamily(rule func(iptables.Family) iptables.PlannedRule) []iptables.PlannedRule {
	var rules []iptables.PlannedRule
	for _, f := range p.families {
		r := rule(f)
		r.Family = f
		rules = append(rules, r)
	}
	return listed(rules...)
}

// loopback is what counts as the pod itself.
func (p *planner) loopback(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return netip.MustParsePrefix("::1/128")
	}
	return p.cfg.LoopbackCIDR
}

// listed leaves out the rules that are about an empty list, which are for no packet.
func listed(rules ...iptables.PlannedRule) []iptables.PlannedRule {
	return slices.DeleteFunc(rules, func(r iptables.PlannedRule) bool {
		return slices.ContainsFunc(r.Lists(), func(l iptables.List) bool { return len(l.Given) == 0 })
	})
}
