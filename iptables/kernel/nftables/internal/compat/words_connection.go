package compat

import "strings"

// conntrackSides are the addresses and ports of struct xt_conntrack_mtinfo3
// (linux/netfilter/xt_conntrack.h), which encodeConntrack shows.
var conntrackSides = [...]struct {
	bit    uint16
	option string
	offset int
}{
	{1 << 2, "--ctorigsrc", 0}, {1 << 3, "--ctorigdst", 32}, {1 << 4, "--ctreplsrc", 64}, {1 << 5, "--ctrepldst", 96},
}

var conntrackPorts = [...]struct {
	bit         uint16
	option      string
	first, last int
}{
	{1 << 8, "--ctorigsrcport", 138, 154}, {1 << 9, "--ctorigdstport", 140, 156},
	{1 << 10, "--ctreplsrcport", 142, 158}, {1 << 11, "--ctrepldstport", 144, 160},
}

const (
	conntrackProtocol  = 1 << 1
	conntrackStatus    = 1 << 6
	conntrackExpires   = 1 << 7
	conntrackDirection = 1 << 12
	conntrackAlias     = 1 << 13 // the match is called "state"
)

func conntrackWords(s *speech) {
	given, not := s.u16(146), s.u16(148)
	if given&conntrackState != 0 {
		option := "--ctstate"
		if given&conntrackAlias != 0 {
			option = "--state"
		}
		s.option(not&conntrackState != 0, option, stateNames(s.u16(150)))
	}
	if given&conntrackProtocol != 0 {
		s.option(not&conntrackProtocol != 0, "--ctproto", decimal(s.u16(136)))
	}
	for _, side := range conntrackSides {
		if given&side.bit != 0 {
			s.option(not&side.bit != 0, side.option, s.network(side.offset))
		}
	}
	for _, p := range conntrackPorts {
		if given&p.bit != 0 {
			s.option(not&p.bit != 0, p.option, span(s.u16(p.first), s.u16(p.last), ":"))
		}
	}
	if given&conntrackStatus != 0 {
		s.option(not&conntrackStatus != 0, "--ctstatus", statusNames(s.u16(152)))
	}
	if given&conntrackExpires != 0 {
		s.option(not&conntrackExpires != 0, "--ctexpire", span(s.u32(128), s.u32(132), ":"))
	}
	if given&conntrackDirection != 0 {
		way := "ORIGINAL"
		if not&conntrackDirection != 0 {
			way = "REPLY"
		}
		s.say("--ctdir", way)
	}
}

// stateNames returns states in the order in which iptables-save prints them.
func stateNames(bits uint16) string {
	var names []string
	for _, state := range []struct {
		bit  uint16
		name string
	}{
		{1 << 0, "INVALID"}, {1 << 3, "NEW"}, {1 << 2, "RELATED"}, {1 << 1, "ESTABLISHED"},
		{1 << 8, "UNTRACKED"}, {1 << 6, "SNAT"}, {1 << 7, "DNAT"},
	} {
		if bits&state.bit != 0 {
			names = append(names, state.name)
		}
	}
	return strings.Join(names, ",")
}

func statusNames(bits uint16) string {
	if bits == 0 {
		return "NONE"
	}
	return bitWords(uint32(bits), "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")
}

// stateWords reads struct xt_state_info (linux/netfilter/xt_state.h). Its bits are those
// of conntrack, but for packets that are not tracked.
func stateWords(s *speech) {
	const untracked = 1 << 6
	bits := uint16(s.u32(0))
	if bits&untracked != 0 {
		bits = bits&^untracked | 1<<8
	}
	s.say("--state", stateNames(bits))
}
