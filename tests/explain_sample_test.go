package tests

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// sampler draws connections at and around the constants of the rules of one
// family.
type sampler struct {
	family    lab.Family
	random    *rand.Rand
	addresses []netip.Addr
	ports     []uint16
	ids       []uint32
	marks     []int
	dns, net1 bool
	virtual   bool
	covered   bool // there are rules at all
}

func newSampler(rules *iptables.Ruleset, f lab.Family, random *rand.Rand) *sampler {
	s := &sampler{
		family: f, random: random,
		addresses: []netip.Addr{lab.Outside.In(f), lab.Loopback.In(f), lab.PodAddr.In(f), lab.PodAddr.In(f)},
		ports:     []uint16{80, 15006, 15008}, ids: []uint32{5000, 0, 1337}, marks: []int{0},
	}
	for _, t := range rules.Tables {
		if t.Family.String() != string(f) {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				s.add(r)
			}
		}
	}
	slices.Sort(s.ports)
	s.ports = slices.Compact(s.ports)
	slices.Sort(s.ids)
	s.ids = slices.Compact(s.ids)
	return s
}

// add collects the constants of a rule with their neighbours.
func (s *sampler) add(r iptables.Rule) {
	s.covered = true
	for _, i := range r.Named(iptables.DestinationAddress) {
		s.addAddresses(i)
	}
	for _, i := range r.Named(iptables.DestinationPort) {
		s.addPorts(i.Ports())
	}
	for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.OwnerGID} {
		for _, i := range r.Named(f) {
			s.addIDs(i.IDs())
		}
	}
	for _, m := range iptables.MatchesOf[iptables.Mark](r) {
		s.marks = append(s.marks, int(m.Value))
	}
	s.net1 = s.net1 || r.In.Name == "net1" || r.Out.Name == "net1"
	s.virtual = s.virtual || r.In.Name == "virbr0"
	to, _ := r.JumpsTo()
	s.dns = s.dns || to == "ISTIO_OUTPUT_DNS"
}

func (s *sampler) addAddresses(i iptables.Interval) {
	first, last := i.Addresses()
	for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
		if reachable(a) {
			s.addresses = append(s.addresses, a)
		}
	}
}

func (s *sampler) addPorts(r iptables.PortRange) {
	for _, p := range []uint16{r.First - 1, r.First, r.Last, r.Last + 1} {
		if p != 0 {
			s.ports = append(s.ports, p)
		}
	}
}

func (s *sampler) addIDs(first, last uint32) {
	for _, id := range []uint32{first - 1, first, last + 1} {
		if id != ^uint32(0) {
			s.ids = append(s.ids, id)
		}
	}
}

// reachable tells whether the pod can connect to an address: it is a machine's,
// and not in the pod's own network, where nobody else is.
func reachable(a netip.Addr) bool {
	if !a.IsValid() || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.Is6() && a.IsLoopback() != (a == lab.Loopback.V6) {
		return false
	}
	if a.Is4() {
		first := a.As4()[0]
		// Broadcast and the like; the first and last loopback address.
		return first != 0 && first < 224 && a.As4()[3] != 255 || first == 127 && a.As4()[3] == 1
	}
	return a.Is6() && netip.MustParsePrefix("::/64").Contains(a) == (a == lab.Loopback.V6)
}

func draw[T any](s *sampler, from []T) T { return from[s.random.IntN(len(from))] }

// attempts returns a sample of each kind of connection that the lab can make.
func (s *sampler) attempts() []attempt {
	if !s.covered {
		return []attempt{s.outbound()}
	}
	var all []attempt
	for range 5 {
		all = append(all, s.outbound())
	}
	for range 3 {
		all = append(all, s.inbound())
	}
	all = append(all, s.toItself())
	if s.dns {
		all = append(all, s.query())
	}
	if s.net1 {
		all = append(all,
			attempt{in: true, client: "peer", to: lab.PodNet1Addr.Port(s.family, draw(s, s.ports)), network: "net1"},
			attempt{client: "pod", to: lab.PeerNet1Addr.Port(s.family, draw(s, s.ports)), as: s.identity(), network: "net1"})
	}
	if s.virtual {
		all = append(all, attempt{
			in: true, client: "vm", network: "virbr0", source: lab.VMAddr.In(s.family),
			to: netip.AddrPortFrom(s.outside(), draw(s, s.ports)),
		})
	}
	return all
}

func (s *sampler) identity() lab.Identity {
	return lab.Identity{UID: draw(s, s.ids), GID: draw(s, s.ids)}
}

func (s *sampler) outbound() attempt {
	a := attempt{client: "pod", as: s.identity(), to: netip.AddrPortFrom(draw(s, s.addresses), draw(s, s.ports))}
	if s.random.IntN(3) > 0 {
		a.as = lab.Identity{UID: 5000, GID: 5000}
	}
	return a
}

func (s *sampler) inbound() attempt {
	return attempt{in: true, client: "peer", to: lab.PodAddr.Port(s.family, draw(s, s.ports))}
}

// toItself is the pod's connection to its own address, perhaps as the proxy makes
// it.
func (s *sampler) toItself() attempt {
	a := attempt{client: "pod", as: s.identity(), to: lab.PodAddr.Port(s.family, draw(s, s.ports))}
	if s.family == lab.IPv4 && s.random.IntN(3) == 0 {
		a.source = passthrough.V4
	} else if a.as.UID == 0 {
		a.mark = draw(s, s.marks)
	}
	return a
}

func (s *sampler) query() attempt {
	return attempt{client: "pod", udp: true, as: s.identity(), to: netip.AddrPortFrom(s.outside(), 53)}
}

// outside returns an address that is not the pod's own.
func (s *sampler) outside() netip.Addr {
	for {
		if a := draw(s, s.addresses); !a.IsLoopback() && a != lab.PodAddr.In(s.family) {
			return a
		}
	}
}
