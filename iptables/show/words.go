package show

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// arrow stands between a rule's conditions and its target.
const arrow = " → "

// conditions returns the conditions of rules in words. The rules are the same rule for
// several families, so they differ at most in addresses.
func conditions(same ...iptables.Rule) string {
	r := same[0]
	var words []string
	if r.Protocol != (iptables.ProtocolMatch{}) {
		words = append(words, not(r.Protocol.Not)+string(r.Protocol.Protocol))
	}
	for _, m := range r.Matches {
		if isPlaced(&r, m) {
			continue
		}
		if ports, ok := portWords(m); ok && len(words) > 0 {
			// Ports follow their protocol without a comma.
			words[0] += ports
		} else {
			words = append(words, extension(m)...)
		}
	}
	words = append(words, throughInterface("in via ", &r, iptables.InInterface)...)
	words = append(words, throughInterface("out via ", &r, iptables.OutInterface)...)
	words = append(words, addresses("from ", same, iptables.SourceAddress)...)
	words = append(words, addresses("to ", same, iptables.DestinationAddress)...)
	if len(words) == 0 {
		return "everything"
	}
	return strings.Join(words, ", ")
}

func not(not bool) string {
	if not {
		return "not "
	}
	return ""
}

func throughInterface(direction string, r *iptables.Rule, f iptables.SetField) []string {
	if s, ok := setOf(r, f); ok {
		return []string{not(s.Not) + direction + list(s)}
	}
	i := r.Interface(f)
	if *i == (iptables.Interface{}) {
		return nil
	}
	return []string{not(i.Not) + direction + i.Name}
}

func addresses(direction string, same []iptables.Rule, f iptables.SetField) []string {
	var names []string
	for _, r := range same {
		name, but := address(&r, f)
		if name == "" {
			return nil
		}
		if but && len(names) == 0 {
			direction += "any address but "
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return []string{direction + strings.Join(names, " or ")}
}

// address returns the addresses that a rule matches or, with but, excludes.
func address(r *iptables.Rule, f iptables.SetField) (words string, but bool) {
	if s, ok := setOf(r, f); ok {
		return list(s), s.Not
	}
	a := *r.Address(f)
	if a == (iptables.Address{}) {
		return "", false
	}
	return prefix(a.Prefix), a.Not
}

func prefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// portWords returns a match's condition on ports, to be read after the protocol.
func portWords(m iptables.Match) (words string, ok bool) {
	switch m := m.(type) {
	case iptables.Ports:
		return port("from", m.Source) + port("to", m.Destination), true
	case iptables.Multiport:
		ports := make([]string, len(m.Ports))
		for i, p := range m.Ports {
			ports[i] = p.String()
		}
		return side(map[iptables.PortSide]string{
			iptables.SourcePorts: "from", iptables.DestinationPorts: "to", iptables.EitherPorts: "from or to",
		}[m.Side], m.Not) + strings.Join(ports, ","), true
	case iptables.Set:
		direction, ok := map[iptables.SetField]string{iptables.SourcePort: "from", iptables.DestinationPort: "to"}[m.Field]
		return side(direction, m.Not) + list(m), ok
	}
	return "", false
}

func port(direction string, p iptables.PortMatch) string {
	if !p.Set {
		return ""
	}
	return side(direction, p.Not) + p.Range.String()
}

func side(direction string, not bool) string {
	if not {
		return " " + direction + " any port but "
	}
	return " " + direction + " port "
}

// extension returns an extension match in words.
func extension(m iptables.Match) []string {
	switch m := m.(type) {
	case iptables.Owner:
		return slices.Concat(socket(m), owner("user", m.UID), owner("group", m.GID))
	case iptables.Conntrack:
		return []string{not(m.Not) + "in state " + m.States.String()}
	case iptables.Mark:
		return []string{not(m.Not) + "marked " + masked(m.Value, m.Mask)}
	case iptables.Connmark:
		return []string{not(m.Not) + "of a connection marked " + masked(m.Value, m.Mask)}
	case iptables.NamedSet:
		return []string{"to an address in the set " + m.Name}
	case iptables.Set:
		if who, ok := map[iptables.SetField]string{iptables.OwnerUID: "user", iptables.OwnerGID: "group"}[m.Field]; ok {
			return []string{fmt.Sprintf("%sof %s %s", not(m.Not), who, list(m))}
		}
	}
	// Its own words are better than none.
	return []string{iptables.Rule{Matches: []iptables.Match{m}}.String()}
}

func socket(m iptables.Owner) []string {
	if !m.Socket {
		return nil
	}
	return []string{"sent by a socket of this machine"}
}

func owner(kind string, id iptables.IDMatch) []string {
	if !id.Set {
		return nil
	}
	words := fmt.Sprintf("%sof %s %d", not(id.Not), kind, id.First)
	if id.First != id.Last {
		words += fmt.Sprintf(" to %d", id.Last)
	}
	return []string{words}
}

func masked(value, mask uint32) string {
	if mask == iptables.FullMask {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

// verdict returns in words what a rule does to a packet. For a jump that is the chain's
// name.
func verdict(r iptables.Rule) string {
	switch t := r.Target.(type) {
	case nil:
		return "count"
	case iptables.Verdict:
		return strings.ToLower(string(t))
	case iptables.Jump:
		return t.Chain
	case iptables.Goto:
		return t.Chain + " (goto)"
	case iptables.Redirect:
		if t.Ports == (iptables.PortRange{}) {
			return "redirect to the same port here"
		}
		return "redirect to port " + t.Ports.String()
	case iptables.TProxy:
		return fmt.Sprintf("hand to port %d by TPROXY and mark %s", t.Port, masked(t.Mark, t.Mask))
	case iptables.SetMark:
		return "mark " + masked(t.Value, t.Mask)
	case iptables.SetConnmark:
		return "mark the connection " + masked(t.Value, t.Mask)
	case iptables.SaveMark:
		return "save the mark to the connection"
	case iptables.RestoreMark:
		return "restore the mark from the connection"
	case iptables.SNAT:
		return "give it the source address " + t.To.String()
	case iptables.CTZone:
		return fmt.Sprintf("track in zone %d", t.Zone)
	}
	return iptables.Rule{Target: r.Target}.String()
}

// captures reports whether a rule hands packets to a port of this namespace.
func captures(r iptables.Rule) bool {
	switch r.Target.(type) {
	case iptables.Redirect, iptables.TProxy:
		return true
	}
	return false
}
