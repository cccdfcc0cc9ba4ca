package probe

import "github.com/meshtables/meshtables/iptables"

// maxTried limits how many values of a list are tried: options may list thousands.
const maxTried = 16

// firstOf returns what f finds for the first values of a list, and how many values count:
// those for which it finds something, and all the rest, which it does not try.
func firstOf[V, R any](list []V, f func(V) (R, bool)) (found []R, all int) {
	looked := list[:min(len(list), maxTried)]
	for _, v := range looked {
		if r, ok := f(v); ok {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, 0
	}
	return found, len(found) + len(list) - len(looked)
}

// ports are the ports to try, and how many there are.
type ports struct {
	tried []uint16
	all   int
	// listed: only these ports are captured.
	listed bool
}

// capturedPorts returns captured ports of a hook: one that no rule names, which stands
// for all; else both ends of the ranges that rules list; else one after those that rules
// leave alone.
func (p *planner) capturedPorts(hook string, isCaptured func(uint16) bool) ports {
	known := p.portsOf(hook)
	is := func(port uint16) (uint16, bool) { return port, isCaptured(port) }
	if tried, all := firstOf(known.unnamed, is); all > 0 {
		return ports{tried, all, false}
	}
	if tried, all := firstOf(known.listed, is); all > 0 {
		return ports{tried, all, true}
	}
	if tried, _ := firstOf(known.following, is); len(tried) > 0 {
		return ports{tried[:1], 1, false}
	}
	return ports{}
}

// knownPorts is what rules say about ports.
type knownPorts struct {
	unnamed   []uint16 // a port that no rule names, or none if rules name all
	listed    []uint16 // the ends of the ranges that capturing rules match
	following []uint16 // the ports after those that a rule names
}

// portsOf returns what the rules say about the ports of a hook.
func (p *planner) portsOf(hook string) knownPorts {
	if known, ok := p.ports[hook]; ok {
		return known
	}
	known := knownPorts{unnamed: p.unnamedPort(), listed: p.listedPorts(hook)}
	for _, i := range p.named(iptables.DestinationPort) {
		if last := i.Ports().Last; last < lastPort {
			known.following = append(known.following, last+1)
		}
	}
	p.ports[hook] = known
	return known
}

// listedPorts returns the ends of the ranges that capturing rules match.
func (p *planner) listedPorts(hook string) []uint16 {
	var all []uint16
	for _, i := range p.listed(hook, iptables.TCP, iptables.DestinationPort) {
		first, last := i.Ports().First, i.Ports().Last
		all = append(all, first)
		if last != first {
			all = append(all, last)
		}
	}
	return all
}

const lastPort = 65535

// unnamedPort returns the first port from 80 on that no rule names.
func (p *planner) unnamedPort() []uint16 {
	const http = 80
	named := iptables.NewSet(iptables.DestinationPort, false, p.named(iptables.DestinationPort))
	for _, port := range []int{http, 1} {
		// The elements are in order.
		for _, e := range named.Elements {
			if r := e.Ports(); int(r.First) <= port && port <= int(r.Last) {
				port = int(r.Last) + 1
			}
		}
		if port <= lastPort {
			return []uint16{uint16(port)}
		}
	}
	return nil
}
