// Package node is the node's side of Istio's ambient mode. Its rules capture nothing: they
// give the node's health probes an address of their own, so that the rules of a pod (package
// ambient) can tell them from what the node forwards.
//
// In iptables' form the rules are the reference's (Istio's CNI agent) to the letter. The
// addresses of the pods are in sets beside the rules, which change without them.
package node

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Name is the policy's name.
const Name = "host"

// chainPostrouting is the policy's only chain, of nat. chainPrefix starts the names of all
// chains that are the mesh's.
const (
	chainPrefix      = "ISTIO_"
	chainPostrouting = "ISTIO_POSTRT"
)

// SetOf returns the name of the set with the pods' addresses of a family. It is the
// reference's, so either uses what the other has made.
func SetOf(f iptables.Family) string {
	if f == iptables.IPv6 {
		return "istio-inpod-probes-v6"
	}
	return "istio-inpod-probes-v4"
}

// Ownership returns what the policy owns in a network namespace.
func Ownership() iptables.Ownership {
	return iptables.Ownership{
		Policies: []string{Name}, Chains: []string{chainPrefix},
		Sets: []string{SetOf(iptables.IPv4), SetOf(iptables.IPv6)},
	}
}

// Config is a complete and valid set of options.
type Config struct {
	// HostProbe is from where the node's health probes come.
	HostProbe ambient.ProbeAddresses
	// PodInterfaces says that pods may have an interface of their own in the cloud's network,
	// by which others route what goes to them and comes from them.
	PodInterfaces bool
	// ProbeRoute says that there is a route to HostProbe.
	ProbeRoute bool
	// IPv6 says whether there are rules for IPv6.
	IPv6 capture.IPv6
	// Comments adds to each rule a comment with the option that it comes from.
	Comments bool
}

// Default returns the Config without any option.
func Default() Config {
	var o Options
	config.SetDefaults(o.Rows())
	return o.cfg
}

// Arguments implements [capture.Wanted].
func (c Config) Arguments() []string { return config.Without(c.args(), Default().args()) }

func (c Config) args() []string {
	o := Options{cfg: c}
	return config.Arguments(o.Rows())
}

func (c Config) families(h host.Host) []iptables.Family { return c.IPv6.Families(h, Ownership()) }

// Plan returns what the options ask for, on a node with the addresses of h. The jump comes
// first: whoever gives a connection its source address first decides, and others give one to
// all that leaves the node.
func (c Config) Plan(h host.Host) capture.Capture {
	nat := iptables.PlannedTable{Name: iptables.Nat}
	nat.Make(chainPostrouting)
	jump := capture.BuiltIn("health probes").Rule(iptables.Jump{Chain: chainPostrouting})
	jump.First = true
	nat.Append(iptables.Postrouting, jump)
	families := c.families(h)
	nat.Append(chainPostrouting, capture.PerFamily(families, func(f iptables.Family) iptables.PlannedRule {
		a := c.HostProbe.Of(f)
		return capture.From("--host-probe-address", a).Rule(iptables.SNAT{To: a},
			capture.Protocol(iptables.TCP), capture.Match(iptables.Owner{Socket: true}), capture.Match(iptables.NamedSet{Name: SetOf(f)}))
	})...)
	return capture.Capture{
		Rules:   iptables.Plan{Families: families, Comments: c.Comments, Tables: []iptables.PlannedTable{nat}},
		Routing: c.routing(families),
	}
}

// routing returns what else the way of a probe needs on some networks. The kernel itself needs
// none of it: it turns an answer's destination into the node's address before it looks for a
// route.
func (c Config) routing(families []iptables.Family) iptables.Routing {
	r := iptables.Routing{SetMembers: c.PodInterfaces}
	if c.ProbeRoute {
		for _, f := range families {
			r.Direct = append(r.Direct, c.HostProbe.Of(f))
		}
	}
	return r
}

// Pods returns the sets of the families that have rules, with the addresses in all.
func (c Config) Pods(h host.Host, all []netip.Addr) []iptables.AddressSet {
	var sets []iptables.AddressSet
	for _, f := range c.families(h) {
		s := iptables.AddressSet{Family: f, Name: SetOf(f)}
		for _, a := range all {
			if iptables.FamilyOf(a) == f {
				s.Addresses = append(s.Addresses, a)
			}
		}
		slices.SortFunc(s.Addresses, netip.Addr.Compare)
		s.Addresses = slices.Compact(s.Addresses)
		sets = append(sets, s)
	}
	return sets
}
