package capture

import (
	"net/netip"

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

// planner collects the rules of one family.
type planner struct {
	cfg         config.Config
	family      iptables.Family
	dns         dnsServers
	loopback    netip.Prefix
	passthrough netip.Prefix

	raw, mangle, nat iptables.Table
}

func newPlanner(cfg config.Config, f iptables.Family, dns dnsServers) *planner {
	p := &planner{
		cfg:         cfg,
		family:      f,
		dns:         dns,
		loopback:    cfg.LoopbackCIDR,
		passthrough: f.Passthrough(),
		raw:         iptables.NewTable(f, iptables.Raw),
		mangle:      iptables.NewTable(f, iptables.Mangle),
		nat:         iptables.NewTable(f, iptables.Nat),
	}
	if f == iptables.IPv6 {
		p.loopback = netip.MustParsePrefix("::1/128")
	}
	return p
}

// tables returns the tables that have rules.
func (p *planner) tables() []iptables.Table {
	for _, chain := range []string{chainInbound, chainInRedirect, chainOutput, chainRedirect} {
		p.nat.Append(chain)
	}
	p.natTargets(&p.nat)
	p.natInbound(&p.nat)
	p.natOutput(&p.nat)
	tables := []iptables.Table{p.nat}

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

func (p *planner) dropInvalid(mangle *iptables.Table) {
	if !p.cfg.DropInvalid {
		return
	}
	why := from("--drop-invalid", "")
	mangle.Append(iptables.Prerouting, why.rule(iptables.Jump{Chain: chainDrop}, conntrack(iptables.StateInvalid)))
	// An excluded interface is left alone in every respect.
	p.skipInterfaces(mangle, chainDrop, in)
	mangle.Append(chainDrop, why.rule(iptables.Drop))
}
