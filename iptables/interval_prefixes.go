package iptables

import "net/netip"

// Prefixes returns an interval of addresses as the fewest prefixes that make it up, in
// order: at most two for each bit of an address. Options take no other intervals.
func (i Interval) Prefixes() []netip.Prefix {
	if p, ok := i.Prefix(); ok {
		return []netip.Prefix{p}
	}
	// What is no prefix crosses the middle of the longest one that has it all, and
	// none of its prefixes does.
	lower, upper := i.halves()
	return append(lower.Prefixes(), upper.Prefixes()...)
}

// halves parts an interval of addresses, of which the first and the last differ, at the
// first bit that does.
func (i Interval) halves() (lower, upper Interval) {
	bits := commonBits(i.First, i.Last) + 1
	half := func(v Value) Interval {
		a, _ := netip.AddrFromSlice([]byte(v))
		return PrefixInterval(netip.PrefixFrom(a, bits))
	}
	return Interval{i.First, half(i.First).Last}, Interval{half(i.Last).First, i.Last}
}
