package probe

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// capturing returns the rules that may send connections or datagrams from a hook to the
// proxy: those that redirect them, and the jumps that lead there. What they capture
// depends on the rules between them too, which it ignores. So without such rules nothing
// is captured; with them, only a packet can tell.
//
// It leaves out rules for one interface only, such as those for lo, by which the
// namespace talks to itself. For TCP it also leaves out those that redirect to the port
// of DNS queries.
func (p *planner) capturing(hook string, protocol iptables.Protocol) []iptables.Rule {
	s := search{protocol: protocol, leads: make(map[string]bool)}
	if protocol == iptables.TCP {
		for _, r := range p.capturing(hook, iptables.UDP) {
			if t, ok := r.Target.(iptables.Redirect); ok {
				s.queries = append(s.queries, t.Ports)
			}
		}
	}
	for i := range p.rules.Tables {
		s.table = &p.rules.Tables[i]
		if s.table.Family == p.family {
			clear(s.leads)
			s.follow(hook)
		}
	}
	return s.found
}

// search looks for the rules that capture a protocol.
type search struct {
	protocol iptables.Protocol
	queries  []iptables.PortRange // where DNS queries go
	table    *iptables.Table
	leads    map[string]bool // whether a chain of the table leads to the proxy
	found    []iptables.Rule
}

// follow reports whether a chain leads to the proxy, and records its rules that do.
func (s *search) follow(name string) bool {
	if leads, known := s.leads[name]; known {
		return leads
	}
	// A jump back to the same chain leads nowhere.
	s.leads[name] = false
	chain := s.table.Chain(name)
	if chain == nil {
		return false
	}
	leads := false
	for _, r := range chain.Rules {
		if s.mayMatch(r) && s.captures(r.Target) {
			s.found = append(s.found, r)
			leads = true
		}
	}
	s.leads[name] = leads
	return leads
}

func (s *search) captures(t iptables.Target) bool {
	switch t := t.(type) {
	case iptables.Redirect:
		return !slices.Contains(s.queries, t.Ports)
	case iptables.TProxy:
		return true
	case iptables.Jump:
		return s.follow(t.Chain)
	case iptables.Goto:
		return s.follow(t.Chain)
	}
	return false
}

func (s *search) mayMatch(r iptables.Rule) bool {
	for _, f := range []iptables.SetField{iptables.InInterface, iptables.OutInterface} {
		if _, not, ok := r.Values(f); ok && !not {
			return false
		}
	}
	return r.Protocol == (iptables.ProtocolMatch{}) || (r.Protocol.Protocol == s.protocol) != r.Protocol.Not
}
