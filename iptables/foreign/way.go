package foreign

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
)

// way is a foreign rule that may decide, after the rules that lead to it.
type way struct {
	// entry is the place of the first rule, in a base chain.
	entry entry
	rules []iptables.Rule
	// target is the kind of the last rule's target, such as "DNAT" or "DROP".
	target string
	// depth counts the jumps.
	depth int
	// attached is where the base chain is.
	attached installed.Attachment
}

// entry is the place of a rule in a base chain.
type entry struct {
	table, chain string
	position     int
}

// hooks are those that packets to and from the proxy pass, outHooks those that packets of this
// machine to others pass.
var (
	hooks = []string{
		installed.Ingress, iptables.Prerouting, iptables.Input, iptables.Output, iptables.Postrouting, installed.Egress,
	}
	outHooks = []string{iptables.Output, iptables.Postrouting, installed.Egress}
)

// ways returns the ways to the foreign rules of the family at some hooks.
func (j *judge) ways(hooks []string) []way {
	var all []way
	for _, hook := range hooks {
		for _, m := range j.Path.Met(j.family, hook) {
			all = j.follow(all, m, m.Chain, way{attached: m.Attachment})
		}
	}
	return all
}

func (j *judge) follow(all []way, m installed.Met, c *iptables.Chain, before way) []way {
	for i, r := range c.Rules {
		if j.Path.Owns(m.Own, c.Name, r) {
			continue
		}
		w := before.with(r)
		if w.depth == 0 {
			w.entry = entry{m.Title, c.Name, i + 1}
		}
		all = j.extend(all, m, w, r.Target)
	}
	return all
}

// extend adds the ways on which a target decides, after the rules of a way.
func (j *judge) extend(all []way, m installed.Met, w way, target iptables.Target) []way {
	if len(all) >= maxTrials {
		return all
	}
	switch t := target.(type) {
	case nil:
		return all
	case iptables.Jump:
		return j.enter(all, m, w, t.Chain)
	case iptables.Goto:
		return j.enter(all, m, w, t.Chain)
	case iptables.Choice:
		for i, one := range t.Targets {
			all = j.extend(all, m, w.with(t.Case(i)), one)
		}
		return j.extend(all, m, w, t.Otherwise)
	case iptables.Statements:
		for _, part := range t {
			w = w.with(part)
			all = j.extend(all, m, w, part.Target)
		}
		return all
	}
	w.target = nameOf(target)
	return append(all, w)
}

// nameOf returns the kind of a target, without its values.
func nameOf(t iptables.Target) string {
	switch t := t.(type) {
	case iptables.UnknownTarget:
		return t.Name
	case iptables.Verdict:
		return string(t)
	}
	return fmt.Sprintf("%T", t)
}

func (j *judge) enter(all []way, m installed.Met, w way, name string) []way {
	chain := j.Path.ChainOf(m.Table, name)
	if chain == nil || w.depth == explain.MaxDepth {
		return all
	}
	w.depth++
	return j.follow(all, m, chain, w)
}

// with returns the way with another rule at its end.
func (w way) with(r iptables.Rule) way {
	w.rules = append(slices.Clip(w.rules), r)
	return w
}

// bend returns the packet with what the rules of a way ask for, if there can be such a
// packet. Where nat has changed the destination by then, what they ask of it is about the
// new one, so the first one only meets the rest.
func (w way) bend(base sample, j *judge) []sample {
	var all []sample
	for _, whole := range []bool{false, true} {
		s := base.copy()
		if w.meet(&s.packet, whole, j) {
			all = append(all, s)
		}
	}
	if !w.seesAnswer(base) {
		return all
	}
	for _, ports := range []bool{false, true} {
		s := base.copy()
		if w.meetByAnswer(&s.packet, ports, j) {
			all = append(all, s)
		}
	}
	return all
}

// seesAnswer reports whether the answer to a packet meets the rules. Chains of nat see no
// answers, and those to what comes in only go out.
func (w way) seesAnswer(to sample) bool {
	switch {
	case w.attached.IsNAT():
		return false
	case to.packet.Hook == iptables.Output:
		return true
	}
	return slices.Contains([]string{iptables.Output, iptables.Postrouting, installed.Egress}, w.attached.Hook)
}

// opposite are the fields of a packet that its answer has the other way round.
var opposite = sync.OnceValue(func() map[iptables.SetField]iptables.SetField {
	return map[iptables.SetField]iptables.SetField{
		iptables.SourceAddress: iptables.DestinationAddress, iptables.DestinationAddress: iptables.SourceAddress,
		iptables.SourcePort: iptables.DestinationPort,
	}
})

// meetByAnswer gives the packet addresses, and ports too, so that its answer has what the
// rules ask for, as far as there can be such a packet. It reports whether there is an answer
// to it that the rules are about.
func (w way) meetByAnswer(p *iptables.Packet, ports bool, j *judge) bool {
	changed := false
	for _, r := range w.rules {
		if r.Protocol != (iptables.ProtocolMatch{}) && !r.Protocol.MetBy(p.Protocol) {
			return false
		}
		for values, not := range r.Conditions(iptables.DestinationPort) {
			if slices.ContainsFunc(values, func(i iptables.Interval) bool { return i.Ports().Contains(p.SourcePort) }) == not {
				// Clients have other ports.
				return false
			}
		}
		for field, ours := range opposite() {
			if field == iptables.SourcePort && !ports {
				continue
			}
			for values, not := range r.Conditions(field) {
				changed = j.set(p, ours, values, not) || changed
			}
		}
	}
	return changed
}

// meet reports whether the packet could be changed to what the rules ask for. Unless whole,
// it passes over ports and addresses that others may have changed.
func (w way) meet(p *iptables.Packet, whole bool, j *judge) bool {
	for _, r := range w.rules {
		if r.Protocol != (iptables.ProtocolMatch{}) && !r.Protocol.MetBy(p.Protocol) {
			return false
		}
		for _, field := range iptables.SetFields() {
			if !whole && (field == iptables.DestinationPort || field == iptables.SourcePort || field == iptables.DestinationAddress) {
				continue
			}
			for values, not := range r.Conditions(field) {
				if !j.set(p, field, values, not) && whole {
					return false
				}
			}
		}
	}
	return true
}

// set gives a field of the packet one of the values, or none of them. It reports whether
// there can be such a packet.
func (j *judge) set(p *iptables.Packet, field iptables.SetField, values []iptables.Interval, not bool) bool {
	have, ok := p.Value(field)
	if ok && slices.ContainsFunc(values, func(i iptables.Interval) bool { return i.Contains(have) }) != not {
		return true
	}
	if not || len(values) == 0 {
		return false
	}
	v := values[0]
	out := p.Hook == iptables.Output
	switch field {
	case iptables.SourceAddress:
		return !out && j.setAddress(p, v, true)
	case iptables.DestinationAddress:
		return out && j.setAddress(p, v, false)
	case iptables.InInterface:
		return !out && j.setInterface(&p.In, v)
	case iptables.OutInterface:
		return out && j.setInterface(&p.Out, v)
	case iptables.SourcePort:
		// Clients have any port.
		return false
	case iptables.DestinationPort:
		p.DestinationPort = v.Ports().First
	case iptables.OwnerUID:
		if p.Owner == nil {
			return false
		}
		p.Owner.UID, _ = v.IDs()
	case iptables.OwnerGID:
		if p.Owner == nil {
			return false
		}
		p.Owner.GID, _ = v.IDs()
	}
	return true
}

// setAddress takes an address of another machine: that of this one is what it is.
func (j *judge) setAddress(p *iptables.Packet, v iptables.Interval, source bool) bool {
	first, last := v.Addresses()
	a := first
	if first != last && first.Next().IsValid() {
		// The first address of a network is the network's.
		a = first.Next()
	}
	if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	if source {
		p.Source = a
	} else {
		p.Destination = a
	}
	return true
}

// setInterface takes an interface that there is.
func (j *judge) setInterface(to *string, v iptables.Interval) bool {
	name, ok := v.Interface()
	if !ok {
		return false
	}
	if len(j.Interfaces) == 0 {
		*to = strings.TrimSuffix(name, "+")
		return *to != ""
	}
	at := slices.IndexFunc(j.Interfaces, iptables.Interface{Name: name}.MetBy)
	if at < 0 {
		return false
	}
	*to = j.Interfaces[at]
	return true
}
