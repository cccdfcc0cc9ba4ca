package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// isWanted reports whether an option has rules that should at least look at the packet.
func (q *inquiry) isWanted() bool {
	switch {
	case q.packet.Hook == iptables.Prerouting:
		return len(q.given("--included-ports")) > 0
	case q.packet.Protocol == iptables.UDP:
		return q.capturesDNS()
	}
	return true
}

// reachesOwn reports whether the packet has come to rules of ours where it could have
// been captured.
func (q *inquiry) reachesOwn() bool {
	return slices.ContainsFunc(q.path, func(s Step) bool {
		return q.mayCapture(s) && (s.Rule.JumpsIntoOwn() || iptables.IsOwn(s.Chain))
	})
}

// unreached is about rules that are there and that the packet does not come to, be the
// jump to them gone or its chain.
func (q *inquiry) unreached() Reason {
	return final(fmt.Sprintf("nothing in %s leads it to the rules of meshtables", q.packet.Hook), "apply again")
}

// isListed reports whether an option that lists ports or destinations, as given, has the
// packet's.
func (q *inquiry) isListed(option string) bool {
	return slices.ContainsFunc(q.given(option), func(item string) bool {
		ports, err := iptables.ParsePortRange(item)
		return item == "*" || isIn(item, q.packet.Destination) || err == nil && ports.Contains(q.packet.DestinationPort)
	})
}

// altered is about rules of an option that the packet came by and that do not do what
// they are there for.
func (q *inquiry) altered(option string) Reason {
	o := iptables.Origin{Option: option, Value: strings.Join(q.given(option), ",")}
	return final(fmt.Sprintf("somebody has changed the rules of meshtables: those of %s would capture it", o), "apply again")
}
