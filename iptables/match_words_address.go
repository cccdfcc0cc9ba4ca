package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// meetsAddressType is the match "addrtype". With a limit to an interface, an address of
// this machine has to be one of that interface.
func (p *Packet) meetsAddressType(options []wordOption) answer {
	limited := slices.ContainsFunc(options, func(o wordOption) bool { return strings.HasPrefix(o.name, "--limit-iface") })
	a := yes
	for _, o := range options {
		switch o.name {
		case "--src-type":
			a = a.and(meetsType(p.SourceType, o, limited))
		case "--dst-type":
			a = a.and(meetsType(p.DestinationType, o, limited))
		case "--limit-iface-in", "--limit-iface-out":
		default:
			a = a.and(unsure)
		}
	}
	return a
}

func meetsType(is string, o wordOption, limited bool) answer {
	if is == "" || limited && is == "LOCAL" {
		return unsure
	}
	return answerOf(slices.Contains(strings.Split(o.value(), ","), is)).not(o.not)
}

// meetsRange is the match "iprange".
func (p *Packet) meetsRange(o wordOption) answer {
	first, last, ok := strings.Cut(o.value(), "-")
	from, err1 := netip.ParseAddr(first)
	to, err2 := netip.ParseAddr(last)
	address := p.Source
	if o.name == "--dst-range" {
		address = p.Destination
	}
	if !ok || err1 != nil || err2 != nil || o.name != "--src-range" && o.name != "--dst-range" {
		return unsure
	}
	return answerOf(address.Compare(from) >= 0 && address.Compare(to) <= 0).not(o.not)
}

// Values returns the addresses of the match "iprange". The words of others say nothing that
// a [Set] can look up, or the model has a match of its own for it.
func (m UnknownMatch) Values(f SetField) (values []Interval, not, ok bool) {
	name := map[SetField]string{SourceAddress: "--src-range", DestinationAddress: "--dst-range"}[f]
	if m.Name != "iprange" || name == "" {
		return nil, false, false
	}
	for _, o := range wordOptions(m.Args) {
		first, last, _ := strings.Cut(o.value(), "-")
		from, err1 := netip.ParseAddr(first)
		to, err2 := netip.ParseAddr(last)
		if o.name == name && err1 == nil && err2 == nil {
			return []Interval{{Value(from.AsSlice()), Value(to.AsSlice())}}, o.not, true
		}
	}
	return nil, false, false
}

// meetsTCP is about options that [Ports] does not have, beside those that it has.
func (p *Packet) meetsTCP(o wordOption) answer {
	switch o.name {
	case "--sport", "--dport":
		m, ok := parsePorts(TCP, append(appendNot(nil, o.not), o.name, o.value())).(Ports)
		met, err := m.MetBy(p)
		if !ok || err != nil {
			return unsure
		}
		return answerOf(met)
	case "--syn":
		return p.meetsFlags(TCPFlags{Mask: 1<<0 | 1<<1 | 1<<2 | 1<<4, Value: 1 << 1, Not: o.not})
	case "--tcp-flags":
		_, f, ok := parseTCPFlags(append(append(appendNot(nil, o.not), o.name), o.values...))
		if !ok {
			return unsure
		}
		return p.meetsFlags(f)
	}
	return unsure
}

func (p *Packet) meetsFlags(f TCPFlags) answer {
	met, err := f.metBy(p)
	if err != nil {
		return unsure
	}
	return answerOf(met)
}
