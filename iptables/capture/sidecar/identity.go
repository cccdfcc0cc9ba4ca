package sidecar

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// optionProxyUID is the option of the proxy's users.
const optionProxyUID = "--proxy-uid"

// identity is who the proxy runs as: its users, or its groups.
type identity struct {
	option string
	field  iptables.SetField
	ids    []iptables.Interval
}

// proxyIdentities returns the proxy's users, then its groups.
func (p *planner) proxyIdentities() []identity {
	return []identity{
		{optionProxyUID, iptables.OwnerUID, capture.Intervals(p.cfg.ProxyUIDs, capture.ID)},
		{"--proxy-gid", iptables.OwnerGID, capture.Intervals(p.cfg.ProxyGIDs, capture.ID)},
	}
}

// rule returns a rule for what the proxy sends.
func (i identity) rule(target iptables.Target, conditions ...capture.Condition) iptables.PlannedRule {
	return capture.FromList(i.option).Rule(target, capture.All(conditions...), capture.AnyOf(i.field, i.ids))
}

// ruleForOthers returns a rule for what others send. A later rule has the same target for
// what the proxy sends.
func (i identity) ruleForOthers(target iptables.Target, conditions ...capture.Condition) iptables.PlannedRule {
	others := capture.Match(iptables.List{Field: i.field, Not: true, Given: i.ids, Implied: true})
	return capture.FromList(i.option).Rule(target, capture.All(conditions...), others)
}
