package iptables

import "net/netip"

// Prefixes splits an interval of addresses into the fewest prefixes, in order: at most
// two for each bit of an address. Options take prefixes only.
func (i Interval) Prefixes() []netip.Prefix {
	if p, ok := i.Prefix(); ok {
		return []netip.Prefix{p}
	}
	// An interval that is no prefix crosses the middle of the smallest prefix around it.
	// None of its own prefixes crosses that middle.
	lower, upper := i.halves()
	return append(lower.Prefixes(), upper.Prefixes()...)
}

// halves splits an interval of more than one address at the first bit in which its ends
// differ.
func (i Interval) halves() (lower, upper Interval) {
	bits := commonBits(i.First, i.Last) + 1
	half := func(v Value) Interval {
		a, _ := netip.AddrFromSlice([]byte(v))
		return PrefixInterval(netip.PrefixFrom(a, bits))
	}
	return Interval{i.First, half(i.First).Last}, Interval{half(i.Last).First, i.Last}
}
