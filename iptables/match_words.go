package iptables

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// wordOption is an option of an extension with all its values.
type wordOption struct {
	not    bool
	name   string
	values []string
}

func (o wordOption) value() string { return strings.Join(o.values, " ") }

// wordOptions splits the arguments of a match. What is not an option is a value of the one
// before.
func wordOptions(words []string) []wordOption {
	var all []wordOption
	not := false
	for _, w := range words {
		switch {
		case w == "!":
			not = true
		case strings.HasPrefix(w, "-") || len(all) == 0:
			all = append(all, wordOption{not: not, name: w})
			not = false
		default:
			o := &all[len(all)-1]
			o.values = append(o.values, w)
		}
	}
	return all
}

// answersByOption are matches of which a packet has to meet every option.
var answersByOption = sync.OnceValue(func() map[string]func(*Packet, wordOption) answer {
	return map[string]func(*Packet, wordOption) answer{
		"":          (*Packet).meetsFragment,
		"iprange":   (*Packet).meetsRange,
		"owner":     (*Packet).meetsOwner,
		"physdev":   (*Packet).meetsBridge,
		"pkttype":   (*Packet).meetsPacketType,
		"policy":    (*Packet).meetsPolicy,
		"recent":    (*Packet).meetsRecent,
		"tcp":       (*Packet).meetsTCP,
		"helper":    (*Packet).meetsHelper,
		"multiport": func(*Packet, wordOption) answer { return unsure },
	}
})

// answersByWords are matches whose options depend on each other.
var answersByWords = sync.OnceValue(func() map[string]func(*Packet, []wordOption) answer {
	return map[string]func(*Packet, []wordOption) answer{
		"addrtype":  (*Packet).meetsAddressType,
		"conntrack": (*Packet).meetsConntrack,
		"state":     (*Packet).meetsConntrack,
		"statistic": (*Packet).meetsStatistic,
		"rpfilter":  (*Packet).meetsReversePath,
		"mac":       (*Packet).meetsMAC,
		// It only counts (nfacct_mt in net/netfilter/xt_nfacct.c).
		"nfacct": func(*Packet, []wordOption) answer { return yes },
	}
})

// ofProtocol are matches on packets of a protocol.
var ofProtocol = sync.OnceValue(func() map[string]Protocol {
	return map[string]Protocol{
		"tcp": TCP, "udp": UDP, "icmp": "icmp", "icmp6": "ipv6-icmp", "sctp": "sctp", "dccp": "dccp", "esp": "esp", "ah": "ah",
		"tcpmss": TCP, "osf": TCP,
	}
})

// answer returns whether a packet meets the match, as far as its words say.
func (m UnknownMatch) answer(p *Packet) answer {
	if protocol, ok := ofProtocol()[m.Name]; ok && p.Protocol != "" && p.Protocol != protocol {
		return no
	}
	options := wordOptions(m.Args)
	if ask, ok := answersByWords()[m.Name]; ok {
		return ask(p, options)
	}
	ask, ok := answersByOption()[m.Name]
	if !ok || len(options) == 0 {
		return unsure
	}
	a := yes
	for _, o := range options {
		a = a.and(ask(p, o))
	}
	return a
}

// usesChance reports whether the match picks some of the packets that are alike.
func (m UnknownMatch) usesChance() bool { return m.Name == "statistic" }

// meetsFragment is about iptables' option for fragments after the first: the packets in
// question are whole.
func (p *Packet) meetsFragment(o wordOption) answer {
	if o.name != "-f" && o.name != "--fragment" {
		return unsure
	}
	return no.not(o.not)
}

// meetsStatistic leaves nothing to chance if all packets are picked, or none
// (statistic_mt in net/netfilter/xt_statistic.c).
func (p *Packet) meetsStatistic(options []wordOption) answer {
	for _, o := range options {
		number, err := strconv.ParseFloat(o.value(), 64)
		switch {
		case err != nil:
		case o.name == "--probability" && number >= 1, o.name == "--every" && number == 1:
			return yes.not(o.not)
		case o.name == "--probability" && number == 0:
			return no.not(o.not)
		}
	}
	return unsure
}

// meetsReversePath is yes: the packets in question have come, and get an answer.
func (p *Packet) meetsReversePath(options []wordOption) answer {
	return answerOf(!slices.ContainsFunc(options, func(o wordOption) bool { return o.name == "--invert" }))
}

// meetsMAC is about the sender's link-layer address, which packets of lo do not have
// (mac_mt in net/netfilter/xt_mac.c).
func (p *Packet) meetsMAC([]wordOption) answer {
	if p.In == "" || p.In == "lo" {
		return no
	}
	return unsure
}

// meetsPolicy knows no IPsec: it is between machines, not in a pod.
func (p *Packet) meetsPolicy(o wordOption) answer {
	if o.name == "--pol" {
		return answerOf(o.value() == "none")
	}
	return yes
}

// meetsBridge is about packets that came in by a port of a bridge. Others meet only
// negations (physdev_mt in net/netfilter/xt_physdev.c).
func (p *Packet) meetsBridge(o wordOption) answer { return answerOf(o.not) }

// meetsRecent is about a list of addresses. Adding to it holds for every packet
// (recent_mt in net/netfilter/xt_recent.c).
func (p *Packet) meetsRecent(o wordOption) answer {
	switch o.name {
	case "--set":
		return yes.not(o.not)
	case "--name", "--mask", "--rsource", "--rdest":
		return yes
	}
	return unsure
}

// meetsHelper is about connections that a helper expects. Others meet only the negation
// (helper_mt in net/netfilter/xt_helper.c).
func (p *Packet) meetsHelper(o wordOption) answer {
	if p.State == StateRelated {
		return unsure
	}
	return no.not(o.not)
}

func (p *Packet) meetsPacketType(o wordOption) answer {
	names := []string{"unicast", "broadcast", "multicast"}
	return p.loadPacketType().compare(func(v Value) bool {
		return int(v[0]) < len(names) && names[v[0]] == o.value()
	}).not(o.not)
}

// meetsOwner is about options that [Owner] does not have.
func (p *Packet) meetsOwner(o wordOption) answer {
	switch o.name {
	case "--socket-exists":
		return answerOf(p.Owner != nil).not(o.not)
	case "--uid-owner", "--gid-owner":
		m, ok := parseOwner([]arg{{o.not, o.name, o.value()}}).(Owner)
		met, err := m.MetBy(p)
		if !ok || err != nil {
			return unsure
		}
		if !met && o.name == "--gid-owner" && p.Owner != nil {
			// The option --suppl-groups takes other groups too.
			return unsure
		}
		return answerOf(met)
	}
	return unsure.or(answerOf(o.name == "--suppl-groups"))
}
