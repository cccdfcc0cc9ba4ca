package compat

import "github.com/meshtables/meshtables/iptables"

// encodeNamedSet writes, from linux/netfilter/xt_set.h,
//
//	struct xt_set_info_match_v4 {
//		struct xt_set_info { __u16 index; __u8 dim, flags; } match_set;
//		struct ip_set_counter_match { __u64 value; __u8 op; } packets, bytes; // 8-aligned
//		__u32 flags;
//	}
//
// where a flag stands for "src" of a dimension.
func encodeNamedSet(m iptables.NamedSet) extension {
	return newExtension("set", 4, structure{}.u16(m.Index).u8(1, 0).zeros(4+16+16+4))
}

// decodeNamedSet leaves the name to [Tables.NameSets].
func decodeNamedSet(f fields) iptables.Match {
	return iptables.NamedSet{Name: setWord(f.u16(0)), Index: f.u16(0)}
}

// NameSets gives the sets of rules their names, which the kernel tells for a number.
func (s *Tables) NameSets(name func(index uint16) (string, bool)) {
	for _, t := range s.list {
		for _, c := range t.chains {
			for i := range c.rules {
				r := &c.rules[i]
				*r = r.MapSets(func(set iptables.NamedSet) iptables.NamedSet {
					if found, ok := name(set.Index); ok {
						set.Name = found
					}
					return set
				})
			}
		}
	}
}
