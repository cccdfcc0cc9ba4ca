package linkerd

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Policy is the policy of Linkerd's sidecars.
type Policy struct{}

var _ capture.Policy = Policy{}

// Name implements [capture.Policy]; see [Name].
func (Policy) Name() string { return Name }

// Mesh implements [capture.Policy].
func (Policy) Mesh() string { return Name }

// Dataplane implements [capture.Policy].
func (Policy) Dataplane() string { return "sidecar" }

// Ownership implements [capture.Policy]; see [Ownership].
func (Policy) Ownership() iptables.Ownership { return Ownership() }

// Options implements [capture.Policy].
func (Policy) Options() capture.Options { return new(policyOptions) }

// Recognise implements [capture.Policy]; see [Recognise].
func (Policy) Recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	return Recognise(rs, form)
}

// Presume implements [capture.Policy]. Rules for IPv4 alone are not enough if IPv6 is
// captured by default, since it would be a way around the proxy; that somebody asked for
// --ipv6=off is nowhere in the rules.
func (Policy) Presume(found capture.Recognised, _ []iptables.Lookup) capture.Wanted {
	c := found.Wanted.(Config)
	c.Comments = found.Commented
	if c.IPv6 == capture.IPv6Off {
		c.IPv6 = capture.IPv6Auto
	}
	return c
}

// Evidence implements [capture.Policy]. No other policy has chains of these names.
func (Policy) Evidence(rules *iptables.Ruleset) int {
	return capture.CountEvidence(rules, Ownership().Owns, func(string, *iptables.Rule) bool { return false })
}

// Proxies returns as proxies all users that the rules of a family name, in rule order. The
// rules say nothing of its group if it was not given; then it is taken to have the same number.
func (Policy) Proxies(rules *iptables.Ruleset, f iptables.Family) []explain.Proxy {
	var proxies []explain.Proxy
	groups := rules.Named(f, iptables.OwnerGID)
	for _, named := range rules.Named(f, iptables.OwnerUID) {
		uid, _ := named.IDs()
		if slices.ContainsFunc(proxies, func(x explain.Proxy) bool { return x.Owner.UID == uid }) {
			continue
		}
		owner := iptables.SocketOwner{UID: uid, GID: uid}
		if len(groups) > 0 {
			owner.GID, _ = groups[0].IDs()
		}
		proxies = append(proxies, explain.Proxy{Owner: &owner})
	}
	return proxies
}

// Source returns no address: the proxy connects to the application from an address of the pod.
func (Policy) Source(iptables.Family) netip.Addr { return netip.Addr{} }

// policyOptions are [Options] as [capture.Options].
type policyOptions struct{ Options }

func (o *policyOptions) Read(flags *config.Flags, src config.Sources) (capture.Wanted, []string, error) {
	return o.Options.Read(flags, src)
}
