package node

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
)

// Policy is the policy of the node's side.
type Policy struct{}

var _ capture.Policy = Policy{}

// Name implements [capture.Policy]; see [Name].
func (Policy) Name() string { return Name }

// Mesh implements [capture.Policy].
func (Policy) Mesh() string { return "istio" }

// Dataplane implements [capture.Policy].
func (Policy) Dataplane() string { return Name }

// Ownership implements [capture.Policy]; see [Ownership].
func (Policy) Ownership() iptables.Ownership { return Ownership() }

// Options implements [capture.Policy].
func (Policy) Options() capture.Options { return new(Options) }

// Proxies returns none: no rule knows the proxy.
func (Policy) Proxies(*iptables.Ruleset, iptables.Family) []explain.Proxy { return nil }

// Source returns no address.
func (Policy) Source(iptables.Family) netip.Addr { return netip.Addr{} }

// Decide returns no: a node is no pod.
func (Policy) Decide(map[string]string) (capture.Decision, error) {
	return capture.Decision{Why: "the rules of a node capture no pod"}, nil
}

// Evidence implements [capture.Policy].
func (Policy) Evidence(rules *iptables.Ruleset) int {
	return capture.CountEvidence(rules, func(chain string) bool { return chain == chainPostrouting }, func(string, *iptables.Rule) bool { return false })
}

// Reason implements [explain.Policy].
func (Policy) Reason(b *explain.Bypass) explain.Reason {
	for _, s := range b.Path {
		if to, ok := s.Rule.Target.(iptables.SNAT); ok && !s.Foreign {
			return explain.Final(fmt.Sprintf("it counts as a health probe: the pod sees it come from %s (--host-probe-address)", to.To), "")
		}
	}
	for _, r := range b.RulesOf("--host-probe-address") {
		for _, set := range iptables.MatchesOf[iptables.NamedSet](r) {
			if holds, err := set.MetBy(b.Packet); err == nil && !holds {
				return explain.Final(fmt.Sprintf("the rules of a node capture nothing, and %s is not in the set %s, so it counts as no health probe", b.Packet.Destination, set.Name),
					fmt.Sprintf("if it is a pod of the mesh, meshtables host --add-pods=%s", b.Packet.Destination))
			}
		}
	}
	return explain.Final("the rules of a node capture nothing: they give its health probes their address (--host-probe-address)",
		"ask about a pod, with --network-namespace")
}

// Recognise implements [capture.Policy]. The rules say all but whether there are comments.
func (Policy) Recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	own, c := Ownership(), Default()
	found := capture.Recognised{Commented: capture.IsCommented(own, rs)}
	rs = own.ReadComments(rs)
	c.IPv6 = capture.IPv6Off
	for _, f := range iptables.Families() {
		t := rs.Table(f, iptables.Nat)
		if t == nil || t.Chain(chainPostrouting) == nil {
			continue
		}
		if f == iptables.IPv6 {
			c.IPv6 = capture.IPv6On
		}
		for _, r := range t.Chain(chainPostrouting).Rules {
			if to, ok := r.Target.(iptables.SNAT); ok {
				c.HostProbe.Set(to.To)
			}
		}
	}
	found.Wanted = c
	found.Compare(own, rs, form)
	return found
}

// Presume implements [capture.Policy].
func (Policy) Presume(found capture.Recognised, _ []iptables.Lookup) capture.Wanted {
	c := found.Wanted.(Config)
	c.Comments = found.Commented
	if c.IPv6 == capture.IPv6Off {
		c.IPv6 = capture.IPv6Auto
	}
	return c
}

// NeedsNameServers implements [capture.Wanted].
func (c Config) NeedsNameServers() (needs bool, instead string) { return false, "" }

// NeedsInterfaces implements [capture.Wanted].
func (c Config) NeedsInterfaces() bool { return false }

// Found implements [capture.Wanted].
func (c Config) Found(h host.Host, _ string) []string {
	return []string{c.IPv6.Found(h, Ownership())}
}

// IDs returns none: the rules match any socket.
func (c Config) IDs() []capture.IDs { return nil }

// ListenEverywhere implements [capture.Wanted].
func (c Config) ListenEverywhere(uint16) string { return "" }

// TakesFrom implements [capture.Wanted].
func (c Config) TakesFrom(host.Host) []string { return nil }

// Summarise implements [capture.Wanted].
func (c Config) Summarise(h host.Host, _ int) capture.Summary {
	out := capture.Summariser{}
	for _, f := range c.families(h) {
		out.Exempt("tcp of this machine to a pod of the set "+SetOf(f), "gets the source address "+c.HostProbe.Of(f).String()+": --host-probe-address")
	}
	out.Exempt("everything else", "is left as it is")
	in := capture.Summariser{}
	in.Exempt("everything", "is for a pod's own rules")
	return capture.Summary{Families: c.families(h), Mode: "health probes", Inbound: in.Lines, Outbound: out.Lines}
}
