package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Recognise reads the options back from rules, whether this program or the reference
// wrote them: from the origins stored with the rules, or else from what the rules look
// like. Options that make no rule have their default, such as the routing table, or
// ports excluded beside a list of included ones. Wanted of the result is a [Config].
//
// form returns a plan as it reads back from the kernel, in the form of the rules.
func Recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	found := recognise(Ownership().ReadComments(rs), form)
	found.Commented = capture.IsCommented(Ownership(), rs)
	return found
}

// recognise is Recognise for rules without comments.
func recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	var r recogniser
	for _, f := range iptables.Families() {
		var one recogniser
		one.family(&rs, f)
		r.merge(one)
	}
	cfg := r.config()
	byShape := capture.Recognised{Wanted: cfg, Host: host.Host{NameServers: r.nameServers()}}
	told, ok := originsOf(rs)
	if !ok {
		byShape.Compare(Ownership(), rs, form)
		return byShape
	}
	var found capture.Recognised
	cfg, found.Refused = told.config(cfg)
	if !leavesLoopback(rs) {
		includeLoopback(&cfg)
	}
	found.Wanted, found.Host.NameServers = cfg, told.nameServers()
	if found.Compare(Ownership(), rs, form); !found.Complete {
		// A group of ports is stored with its ports joined. Its rules show that there were
		// enough for groups.
		if byShape.Compare(Ownership(), rs, form); byShape.Complete {
			return byShape
		}
	}
	return found
}

// leavesLoopback reports whether there is a rule that exempts the application on lo.
func leavesLoopback(rs iptables.Ruleset) bool {
	return rs.HasRule(func(t *iptables.Table, c *iptables.Chain, r *iptables.Rule) bool {
		return t.Name == iptables.Nat && c.Name == chainOutput &&
			r.Origin.Option == optionProxyUID && r.Out.Name == capture.LoopbackInterface && r.Target == iptables.Return
	})
}

// includeLoopback adds a part of loopback to the list if only a larger prefix contains
// it: the list must have had one, and a long list is stored joined.
func includeLoopback(cfg *Config) {
	if includesLoopback(*cfg) {
		return
	}
	for _, f := range iptables.Families() {
		whole := wholeLoopback(f)
		if slices.ContainsFunc(cfg.IncludedCIDRs.CIDRs, func(p netip.Prefix) bool { return p.Contains(whole.Addr()) }) {
			cfg.IncludedCIDRs.CIDRs = append(cfg.IncludedCIDRs.CIDRs, whole)
			return
		}
	}
}

// recogniser collects what the rules of one family say, then of both.
type recogniser struct {
	families []iptables.Family

	outboundPort, inboundPort, tunnelPort, dnsPort uint16
	proxyUIDs, proxyGIDs                           []uint32
	tproxyMark                                     uint32

	includedPorts                      config.PortSelection
	excludedPorts                      []iptables.PortRange
	includedOutbound, excludedOutbound []iptables.PortRange
	// Every address is the prefix of length 0.
	includedCIDRs, excludedCIDRs, excludedSources []netip.Prefix
	excludedUIDs                                  []UserTraffic
	excludedInterfaces, virtual                   []string
	includedGroups, excludedGroups                []uint32
	loopback                                      netip.Prefix
	servers                                       []netip.Addr
	dns, allDNS, virtualDNS, dropInvalid          bool
}

// merge adds what the other family says. Both say the same, except about addresses.
func (r *recogniser) merge(other recogniser) {
	if len(r.families) == 0 {
		*r = other
		return
	}
	r.families = append(r.families, other.families...)
	r.includedCIDRs = append(r.includedCIDRs, other.includedCIDRs...)
	r.excludedCIDRs = append(r.excludedCIDRs, other.excludedCIDRs...)
	r.excludedSources = append(r.excludedSources, other.excludedSources...)
	r.servers = append(r.servers, other.servers...)
	r.virtualDNS = r.virtualDNS || other.virtualDNS
}

// config returns the collected options, with defaults for what is unknown.
func (r *recogniser) config() Config {
	c := Default()
	if len(r.families) == 0 {
		return c
	}
	setPort(&c.OutboundPort, r.outboundPort)
	setPort(&c.InboundPort, r.inboundPort)
	setPort(&c.TunnelPort, r.tunnelPort)
	setPort(&c.DNSPort, r.dnsPort)
	if len(r.proxyUIDs) > 0 {
		c.ProxyUIDs, c.ProxyGIDs = r.proxyUIDs, r.proxyGIDs
	}
	if r.tproxyMark != 0 {
		c.Mode, c.TProxyMark = ModeTProxy, r.tproxyMark
	}
	c.IncludedPorts, c.ExcludedPorts = r.includedPorts, r.excludedPorts
	c.IncludedOutboundPorts, c.ExcludedOutboundPorts = r.includedOutbound, r.excludedOutbound
	c.IncludedCIDRs, c.ExcludedCIDRs = r.cidrSelection(), r.excludedCIDRs
	c.ExcludedSourceCIDRs, c.ExcludedUIDs = r.excludedSources, r.excludedUIDs
	c.ExcludedInterfaces, c.VirtualInterfaces = r.excludedInterfaces, r.virtual
	if len(r.includedGroups) > 0 {
		c.IncludedGroups = config.GroupSelection{Groups: r.includedGroups}
	}
	c.ExcludedGroups = r.excludedGroups
	if r.loopback.IsValid() {
		c.LoopbackCIDR = r.loopback
	}
	c.RedirectDNS, c.CaptureAllDNS, c.RedirectVirtualDNS, c.DropInvalid = r.dns, r.allDNS, r.virtualDNS, r.dropInvalid
	c.IPv6 = IPv6Off
	if slices.Contains(r.families, iptables.IPv6) {
		c.IPv6 = IPv6On
	}
	return c
}

// cidrSelection returns "*" if the list is every address of each family: the rules are
// the same.
func (r *recogniser) cidrSelection() config.CIDRSelection {
	isWhole := func(f iptables.Family) bool { return slices.Contains(r.includedCIDRs, capture.EveryAddress(f)) }
	some := func(f iptables.Family) bool { return !isWhole(f) }
	if len(r.includedCIDRs) == len(r.families) && !slices.ContainsFunc(r.families, some) {
		return config.CIDRSelection{All: true}
	}
	return config.CIDRSelection{CIDRs: r.includedCIDRs}
}

func setPort(to *uint16, port uint16) {
	if port != 0 {
		*to = port
	}
}

// nameServers returns the captured name servers. If DNS is captured but no server is, it
// returns one of a family without rules.
func (r *recogniser) nameServers() []netip.Addr {
	if r.dns && !r.allDNS && len(r.servers) == 0 {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return r.servers
}
