package sidecar

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
)

// exempt says why the rule of a step exempts the packet, by the option behind the rule.
func (q inquiry) exempt() explain.Reason {
	p, o := q.Packet, q.item()
	if p.Hook == iptables.Prerouting && p.Protocol == iptables.UDP {
		why := q.notDNS()
		why.Final = true
		return why
	}
	if why, ok := q.Exempted(o); ok {
		return why
	}
	switch o.Option {
	case "--excluded-uids":
		return capture.TakeOut(o, fmt.Sprintf("traffic of user %d", p.Owner.UID), o.Value)
	case "--excluded-groups":
		return capture.TakeOut(o, fmt.Sprintf("group %d", p.Owner.GID), o.Value)
	case "--included-groups":
		return explain.Reason{Why: fmt.Sprintf("group %d is not in %s", p.Owner.GID, o), Change: fmt.Sprintf("add %d to %s", p.Owner.GID, o.Option)}
	case "--proxy-uid", "--proxy-gid":
		return q.proxyTraffic()
	case "--tproxy-mark":
		return explain.Final(fmt.Sprintf("mark %#x means that the proxy has this connection already (%s)", p.Mark, o), "")
	case "--loopback-cidr":
		return explain.Final(fmt.Sprintf("destination %s is the pod itself (%s)", p.Destination, o), "")
	case iptables.BuiltIn:
		return q.builtIn()
	}
	return q.Unplanned()
}

// builtIn is about exemptions that do not come from an option.
func (q inquiry) builtIn() explain.Reason {
	p := q.Packet
	switch {
	case q.Step.Rule.Source != (iptables.Address{}):
		return explain.Final(fmt.Sprintf("the proxy connects to the application from %s: capturing that would make a loop", p.Source), "")
	case p.Hook == iptables.Prerouting:
		return explain.Final("what comes in via lo is from the pod itself: it is not captured, unless the proxy sends it to the pod's own address", "")
	}
	return explain.Final(fmt.Sprintf("destination %s is the pod itself", p.Destination), "")
}

// proxyTraffic is about the rules that name the proxy's user or group: those that exempt
// what it sends, and those that exempt everybody else on lo.
func (q inquiry) proxyTraffic() explain.Reason {
	p, o := q.Packet, q.item()
	if q.Step.Rule.Out != (iptables.Interface{}) {
		return explain.Final(fmt.Sprintf("connections from the pod to itself are not captured, unless the proxy (%s) opens them to the pod's own address", o),
			"connect to the address of a service")
	}
	who, id := "user", p.Owner.UID
	if o.Option == "--proxy-gid" {
		who, id = "group", p.Owner.GID
	}
	return explain.Final(fmt.Sprintf("%s %d is the proxy's (%s): capturing its traffic would make a loop", who, id, o),
		"if this is not the proxy, run it as another "+who)
}

// item returns the origin of the rule that exempts the packet, with the items of its list
// that match the packet.
func (q inquiry) item() iptables.Origin {
	return q.Item(func(item string) bool { return isOneOf(q.Step.Rule.Origin.Option, item, q.Packet) })
}

// isOneOf reports whether an item of an option's list covers the packet.
func isOneOf(option, word string, p *iptables.Packet) bool {
	switch option {
	case "--excluded-uids":
		// The user comes last, after protocol and ports, which the rule matches.
		first, last, isRange := strings.Cut(word[strings.LastIndex(word, ":")+1:], "-")
		if !isRange {
			last = first
		}
		return p.Owner != nil && isFrom(first, last, p.Owner.UID)
	case "--proxy-uid":
		return p.Owner != nil && isFrom(word, word, p.Owner.UID)
	case "--proxy-gid", "--excluded-groups":
		return p.Owner != nil && isFrom(word, word, p.Owner.GID)
	}
	return capture.IsOneOf(option, word, p)
}

// isFrom reports whether an id is in a range of numbers.
func isFrom(first, last string, id uint32) bool {
	a, err := strconv.ParseUint(first, 10, 32)
	b, err2 := strconv.ParseUint(last, 10, 32)
	return err == nil && err2 == nil && uint32(a) <= id && id <= uint32(b)
}
