package compat

import (
	"fmt"
	"sync"

	"github.com/meshtables/meshtables/iptables"
)

// matchLayouts are the matches that have words.
var matchLayouts = sync.OnceValue(func() map[string][]layout {
	return map[string][]layout{
		"addrtype":  {{0, 12, addrtypeWords}, {1, 8, addrtypeWords}},
		"bpf":       {{1, 8 + 512, bpfWords}},
		"cgroup":    {{0, 8, cgroupWords}, {1, 4 + 4096 + 4, cgroupPathWords}, {2, 4 + 512, cgroupPathWords}},
		"connbytes": {{0, 18, connbytesWords}},
		"connlabel": {{0, 4, connlabelWords}},
		"connlimit": {{1, 24, connlimitWords}},
		"conntrack": {{3, 162, conntrackWords}},
		"cpu":       {{0, 8, func(s *speech) { s.option(s.u32(4) != 0, "--cpu", decimal(s.u32(0))) }}},
		"dccp":      {{0, 15, dccpWords}},
		"devgroup":  {{0, 20, devgroupWords}},
		"dscp":      {{0, 2, func(s *speech) { s.option(s.u8(1) != 0, "--dscp", fmt.Sprintf("0x%02x", s.u8(0))) }}},
		"ecn":       {{0, 4, ecnWords}},
		"esp":       {{0, 9, espWords}},
		"eui64":     {{0, 0, func(*speech) {}}},
		"hashlimit": {{1, 16 + 32, hashlimitWords}, {2, 255 + 1 + 40, hashlimitWords}, {3, 255 + 1 + 42, hashlimitWords}},
		"helper":    {{0, 34, helperWords}},
		"hl":        {{0, 2, func(s *speech) { s.hopLimit("--hl") }}},
		"icmp":      {{0, 4, func(s *speech) { s.icmp("--icmp-type") }}},
		"icmp6":     {{0, 4, func(s *speech) { s.icmp("--icmpv6-type") }}},
		"iprange":   {{1, 65, iprangeWords}},
		"length":    {{0, 5, func(s *speech) { s.option(s.u8(4) != 0, "--length", span(s.u16(0), s.u16(2), ":")) }}},
		"limit":     {{0, 8, limitWords}},
		"mac":       {{0, 12, macWords}},
		"owner":     {{1, 18, ownerWords}},
		"physdev":   {{0, 66, physdevWords}},
		"pkttype":   {{0, 8, pkttypeWords}},
		"policy":    {{0, 308, policyWords}},
		"quota":     {{0, 16, func(s *speech) { s.option(s.u32(0)&1 != 0, "--quota", decimal(s.u64(8))) }}},
		"realm":     {{0, 9, realmWords}},
		"recent":    {{0, 211, recentWords}, {1, 228, recentWords}},
		"rpfilter":  {{0, 1, rpfilterWords}},
		"sctp":      {{0, 292, sctpWords}},
		"set":       {{1, 4, setWords}, {2, 4, setWords}, {3, 4, setWords}, {4, 4, setWords}},
		"socket":    {{0, 0, func(*speech) {}}, {1, 1, socketWords}, {2, 1, socketWords}, {3, 1, socketWords}},
		"state":     {{0, 4, stateWords}},
		"statistic": {{0, 16, statisticWords}},
		"string":    {{1, 150, stringWords}},
		"tcp":       {{0, 12, tcpWords}},
		"tcpmss":    {{0, 5, func(s *speech) { s.option(s.u8(4) != 0, "--mss", span(s.u16(0), s.u16(2), ":")) }}},
		"time":      {{0, 22, timeWords}},
		"tos":       {{1, 3, func(s *speech) { s.option(s.u8(2) != 0, "--tos", fmt.Sprintf("0x%02x/0x%02x", s.u8(1), s.u8(0))) }}},
		"ttl":       {{0, 2, func(s *speech) { s.hopLimit("--ttl") }}},
		"u32":       {{0, u32Size, u32Words}},
	}
})

// addrtypeWords reads struct xt_addrtype_info and xt_addrtype_info_v1
// (linux/netfilter/xt_addrtype.h).
func addrtypeWords(s *speech) {
	notSource, notDestination, limits := s.u32(4) != 0, s.u32(8) != 0, uint32(0)
	if s.revision == 1 {
		flags := s.u32(4)
		notSource, notDestination, limits = flags&1 != 0, flags&2 != 0, flags
	}
	if types := s.u16(0); types != 0 {
		s.option(notSource, "--src-type", addressTypes(types))
	}
	if types := s.u16(2); types != 0 {
		s.option(notDestination, "--dst-type", addressTypes(types))
	}
	s.sayIf(limits&4 != 0, "--limit-iface-in")
	s.sayIf(limits&8 != 0, "--limit-iface-out")
}

func addressTypes(types uint16) string {
	var names []string
	for i := range uint32(16) {
		name, _ := iptables.AddressType(i)
		names = append(names, name)
	}
	return bitWords(uint32(types), names...)
}

// statisticWords reads struct xt_statistic_info (linux/netfilter/xt_statistic.h).
func statisticWords(s *speech) {
	not := s.u16(2)&1 != 0
	if s.u16(0) == 0 {
		s.say("--mode", "random")
		s.option(not, "--probability", fmt.Sprintf("%.11f", float64(s.u32(4))/(1<<31)))
		return
	}
	s.say("--mode", "nth")
	s.option(not, "--every", decimal(s.u32(4)+1), "--packet", decimal(s.u32(8)))
}

// limitWords reads struct xt_rateinfo (linux/netfilter/xt_limit.h).
func limitWords(s *speech) {
	const usual = 5 // XT_LIMIT_BURST in iptables' extensions/libxt_limit.c
	s.say("--limit", rateWords(uint64(s.u32(0)), 10000))
	s.sayIf(s.u32(4) != usual, "--limit-burst", decimal(s.u32(4)))
}

// rateWords returns the rate of a period in parts of a second.
func rateWords(period, second uint64) string {
	rate, _ := rateOf(period, second)
	return rate
}

// rateOf returns a rate in the largest unit that tells it well, and the unit in seconds.
func rateOf(period, second uint64) (rate string, seconds uint64) {
	if period == 0 {
		return "infinity", 1
	}
	units := []struct {
		name    string
		seconds uint64
	}{{"day", 86400}, {"hour", 3600}, {"min", 60}, {"sec", 1}}
	i := 1
	for ; i < len(units); i++ {
		if whole := units[i].seconds * second; period > whole || whole/period < whole%period {
			break
		}
	}
	unit := units[i-1]
	return decimal(unit.seconds*second/period) + "/" + unit.name, unit.seconds
}

// physdevWords reads struct xt_physdev_info (linux/netfilter/xt_physdev.h).
func physdevWords(s *speech) {
	invert, given := s.u8(64), s.u8(65)
	for _, o := range []struct {
		bit   byte
		words []string
	}{
		{0x08, []string{"--physdev-is-in"}}, {0x01, []string{"--physdev-in", s.text(0, 16)}},
		{0x10, []string{"--physdev-is-out"}}, {0x02, []string{"--physdev-out", s.text(32, 16)}},
		{0x04, []string{"--physdev-is-bridged"}},
	} {
		if given&o.bit != 0 {
			s.option(invert&o.bit != 0, o.words...)
		}
	}
}

// icmp reads struct ipt_icmp and ip6t_icmp (linux/netfilter_ipv4/ip_tables.h,
// linux/netfilter_ipv6/ip6_tables.h).
func (s *speech) icmp(option string) {
	kind, first, last := s.u8(0), s.u8(1), s.u8(2)
	word := decimal(kind)
	switch {
	case kind == 0xff:
		word = "any"
	case first == last:
		word += "/" + decimal(first)
	case first != 0 || last != 0xff:
		word += "/" + decimal(first) + "-" + decimal(last)
	}
	s.option(s.u8(3)&1 != 0, option, word)
}

// macWords reads struct xt_mac_info (linux/netfilter/xt_mac.h).
func macWords(s *speech) {
	b := s.bytes(0, 6)
	s.option(s.u32(8) != 0, "--mac-source", fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]))
}

// tcpWords reads struct xt_tcp (linux/netfilter/xt_tcpudp.h).
func tcpWords(s *speech) {
	const notFlags, notOption = 1 << 2, 1 << 3
	not := s.u8(11)
	ports := decodePorts(iptables.TCP, s.fields).(iptables.Ports)
	for _, p := range []struct {
		option string
		iptables.PortMatch
	}{{"--sport", ports.Source}, {"--dport", ports.Destination}} {
		if p.Set {
			s.option(p.Not, p.option, p.Range.String())
		}
	}
	if option := s.u8(8); option != 0 || not&notOption != 0 {
		s.option(not&notOption != 0, "--tcp-option", decimal(option))
	}
	if mask := s.u8(9); mask != 0 || not&notFlags != 0 {
		s.option(not&notFlags != 0, "--tcp-flags", tcpFlagWords(mask), tcpFlagWords(s.u8(10)))
	}
}

func tcpFlagWords(flags byte) string {
	if words := bitWords(uint32(flags), "FIN", "SYN", "RST", "PSH", "ACK", "URG"); words != "" {
		return words
	}
	return "NONE"
}

// iprangeWords reads struct xt_iprange_mtinfo (linux/netfilter/xt_iprange.h).
func iprangeWords(s *speech) {
	flags := s.u8(64)
	if flags&1 != 0 {
		s.option(flags&0x10 != 0, "--src-range", s.address(0)+"-"+s.address(16))
	}
	if flags&2 != 0 {
		s.option(flags&0x20 != 0, "--dst-range", s.address(32)+"-"+s.address(48))
	}
}

// pkttypeWords reads struct xt_pkttype_info (linux/netfilter/xt_pkttype.h).
func pkttypeWords(s *speech) {
	names := []string{"unicast", "broadcast", "multicast"} // PACKET_* in linux/if_packet.h
	kind := s.u32(0)
	if kind >= uint32(len(names)) {
		s.silent = true
		return
	}
	s.option(s.u32(4) != 0, "--pkt-type", names[kind])
}

// hopLimit reads struct ipt_ttl_info and ip6t_hl_info (linux/netfilter_ipv4/ipt_ttl.h,
// linux/netfilter_ipv6/ip6t_hl.h).
func (s *speech) hopLimit(option string) {
	ways := []string{"-eq", "-eq", "-lt", "-gt"}
	mode := s.u8(0)
	if int(mode) >= len(ways) {
		s.silent = true
		return
	}
	s.option(mode == 1, option+ways[mode], decimal(s.u8(1)))
}

// socketWords reads struct xt_socket_mtinfo1 to 3 (linux/netfilter/xt_socket.h).
func socketWords(s *speech) {
	flags := s.u8(0)
	s.sayIf(flags&1 != 0, "--transparent")
	s.sayIf(flags&2 != 0, "--nowildcard")
	s.sayIf(flags&4 != 0, "--restore-skmark")
}

// rpfilterWords reads struct xt_rpfilter_info (linux/netfilter/xt_rpfilter.h).
func rpfilterWords(s *speech) {
	flags := s.u8(0)
	s.sayIf(flags&1 != 0, "--loose")
	s.sayIf(flags&2 != 0, "--validmark")
	s.sayIf(flags&4 != 0, "--accept-local")
	s.sayIf(flags&8 != 0, "--invert")
}

// helperWords reads struct xt_helper_info (linux/netfilter/xt_helper.h).
func helperWords(s *speech) {
	s.option(s.u32(0) != 0, "--helper", iptables.Quote(s.text(4, 30)))
}

// ownerWords reads struct xt_owner_match_info (linux/netfilter/xt_owner.h).
func ownerWords(s *speech) {
	const socket, supplementary = 1 << 2, 1 << 3
	match, not := s.u8(16), s.u8(17)
	s.sayIf(match&socket != 0 && not&socket != 0, "!")
	s.sayIf(match&socket != 0, "--socket-exists")
	if match&ownerUID != 0 {
		s.option(not&ownerUID != 0, "--uid-owner", span(s.u32(0), s.u32(4), "-"))
	}
	if match&ownerGID != 0 {
		s.option(not&ownerGID != 0, "--gid-owner", span(s.u32(8), s.u32(12), "-"))
	}
	s.sayIf(match&supplementary != 0, "--suppl-groups")
}

// connlimitWords reads struct xt_connlimit_info (linux/netfilter/xt_connlimit.h).
func connlimitWords(s *speech) {
	flags := s.u32(20)
	option, side := "--connlimit-above", "--connlimit-saddr"
	if flags&1 != 0 {
		option = "--connlimit-upto"
	}
	if flags&2 != 0 {
		side = "--connlimit-daddr"
	}
	s.say(option, decimal(s.u32(16)), "--connlimit-mask", decimal(max(s.maskBits(0), 0)), side)
}

// connbytesWords reads struct xt_connbytes_info (linux/netfilter/xt_connbytes.h).
func connbytesWords(s *speech) {
	modes, directions := []string{"packets", "bytes", "avgpkt"}, []string{"original", "reply", "both"}
	from, to := s.u64(0), s.u64(8)
	if int(s.u8(16)) >= len(modes) || int(s.u8(17)) >= len(directions) {
		s.silent = true
		return
	}
	not := from > to
	if not {
		from, to = to, from
	}
	words := decimal(from) + ":"
	if to != ^uint64(0) {
		words += decimal(to)
	}
	s.option(not, "--connbytes", words, "--connbytes-mode", modes[s.u8(16)], "--connbytes-dir", directions[s.u8(17)])
}

// devgroupWords reads struct xt_devgroup_info (linux/netfilter/xt_devgroup.h).
func devgroupWords(s *speech) {
	flags := s.u32(0)
	if flags&1 != 0 {
		s.option(flags&2 != 0, "--src-group", maskedWord(s.u32(4), s.u32(8)))
	}
	if flags&4 != 0 {
		s.option(flags&8 != 0, "--dst-group", maskedWord(s.u32(12), s.u32(16)))
	}
}

// realmWords reads struct xt_realm_info (linux/netfilter/xt_realm.h).
func realmWords(s *speech) {
	s.option(s.u8(8) != 0, "--realm", maskedWord(s.u32(0), s.u32(4)))
}

func maskedWord(value, mask uint32) string {
	if mask == iptables.FullMask {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

// setWords reads struct xt_set_info (linux/netfilter/xt_set.h). The kernel tells the name
// of a set only to who asks for it.
func setWords(s *speech) {
	const inverted = 1 << 2
	flags := s.u8(3)
	not := flags&inverted != 0
	if s.revision > 0 {
		// The lowest bit is the inversion, the others are the sides.
		not = flags&1 != 0
	}
	s.option(not, "--match-set", s.setWord(0), setSides(s.u8(2), flags))
}

func (s *speech) setWord(offset int) string { return setWord(s.u16(offset)) }

func setWord(index uint16) string { return "number-" + decimal(index) }

func setSides(dimensions, flags byte) string {
	words := ""
	for i := 1; i <= int(dimensions) && i < 8; i++ {
		if i > 1 {
			words += ","
		}
		if flags&(1<<i) != 0 {
			words += "src"
		} else {
			words += "dst"
		}
	}
	return words
}
