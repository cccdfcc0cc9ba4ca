package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
)

// port is where rules send traffic.
type port struct {
	protocol iptables.Protocol
	number   uint16
}

func (p port) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

// portsOf returns the ports to which rules send traffic, in order.
func portsOf(rules iptables.Ruleset) []port {
	var all []port
	for _, t := range rules.Tables {
		for _, c := range t.Chains {
			for i := range c.Rules {
				p, ok := portOf(&c.Rules[i])
				if ok && !slices.Contains(all, p) {
					all = append(all, p)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.protocol, b.protocol))
	})
	return all
}

func portOf(r *iptables.Rule) (port, bool) {
	p := port{protocol: r.Protocol.Protocol}
	switch t := r.Target.(type) {
	case iptables.Redirect:
		p.number = t.Ports.First
	case iptables.TProxy:
		p.number = t.Port
	}
	return p, p.number != 0 && !r.Protocol.Not && p.protocol != ""
}

// silent returns the ports at which no socket listens, in words; "" if there are none.
func silent(l host.Listeners, ports []port) string {
	var words []string
	for _, p := range ports {
		if !l.HasPort(p.protocol, iptables.IPv4, p.number) && !l.HasPort(p.protocol, iptables.IPv6, p.number) {
			words = append(words, p.String())
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "nobody listens at port " + strings.Join(words, ", ")
}
