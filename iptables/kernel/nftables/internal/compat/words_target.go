package compat

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/meshtables/meshtables/iptables"
)

// targetLayouts are the targets that have words.
var targetLayouts = sync.OnceValue(func() map[string][]layout {
	return map[string][]layout{
		"AUDIT":       {{0, 1, auditWords}},
		"CHECKSUM":    {{0, 1, func(s *speech) { s.sayIf(s.u8(0)&1 != 0, "--checksum-fill") }}},
		"CLASSIFY":    {{0, 4, func(s *speech) { s.say("--set-class", fmt.Sprintf("%04x:%04x", s.u32(0)>>16, s.u32(0)&0xffff)) }}},
		"CONNSECMARK": {{0, 1, connsecmarkWords}},
		"CT":          {{0, 28, ctWords}, {1, 60, ctWords}, {2, 60, ctWords}},
		"DNAT":        natLayouts("--to-destination"),
		"DNPT":        {{0, 34, prefixWords}},
		"DSCP":        {{0, 1, func(s *speech) { s.say("--set-dscp", fmt.Sprintf("0x%02x", s.u8(0))) }}},
		"ECN":         {{0, 3, ecnTargetWords}},
		"HL":          {{0, 2, func(s *speech) { s.setHopLimit("--hl") }}},
		"IDLETIMER":   {{0, 32, idletimerWords}, {1, 34, idletimerWords}},
		"LOG":         {{0, 32, logWords}},
		"MASQUERADE":  natLayouts("--to-ports"),
		"NETMAP":      {{0, 20, netmapWords}, {1, 40, netmapWords}, {2, 42, netmapWords}},
		"NFLOG":       {{0, 76, nflogWords}},
		"NFQUEUE":     {{0, 2, nfqueueWords}, {1, 4, nfqueueWords}, {2, 6, nfqueueWords}, {3, 6, nfqueueWords}},
		"NOTRACK":     {{0, 0, func(*speech) {}}},
		"REDIRECT":    natLayouts("--to-ports"),
		"REJECT":      {{0, 4, rejectWords}},
		"SET":         {{1, 8, setTargetWords}, {2, 8, setTargetWords}, {3, 8, setTargetWords}},
		"SNAT":        natLayouts("--to-source"),
		"SNPT":        {{0, 34, prefixWords}},
		"SYNPROXY":    {{0, 4, synproxyWords}},
		"TCPMSS":      {{0, 2, tcpmssWords}},
		"TCPOPTSTRIP": {{0, 32, tcpoptstripWords}},
		"TEE":         {{1, 32, teeWords}},
		"TOS":         {{1, 2, func(s *speech) { s.say("--set-tos", fmt.Sprintf("0x%02x/0x%02x", s.u8(0), s.u8(1))) }}},
		"TRACE":       {{0, 0, func(*speech) {}}},
		"TTL":         {{0, 2, func(s *speech) { s.setHopLimit("--ttl") }}},
	}
})

// natLayouts are those of targets of nat: struct nf_nat_ipv4_multi_range_compat for IPv4,
// struct nf_nat_range and nf_nat_range2 (linux/netfilter/nf_nat.h).
func natLayouts(option string) []layout {
	words := func(s *speech) { s.nat(option) }
	return []layout{{0, 20, words}, {1, 40, words}, {2, 42, words}}
}

// natRange is where nat sends connections.
type natRange struct {
	flags       uint32
	first, last string
	from, to    uint16
	base        uint16
}

func (s *speech) natRange() natRange {
	if s.revision == 0 && s.family == iptables.IPv4 {
		return natRange{flags: s.u32(4), first: s.address(8), last: s.address(12), from: s.be16(16), to: s.be16(18)}
	}
	return natRange{flags: s.u32(0), first: s.address(4), last: s.address(20), from: s.be16(36), to: s.be16(38), base: s.be16(40)}
}

func (s *speech) nat(option string) {
	const addresses, ports, random, persistent, fully, offset = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
	r := s.natRange()
	to := ""
	if r.flags&addresses != 0 {
		to = r.first
		if r.last != r.first {
			to += "-" + r.last
		}
	}
	if r.flags&ports != 0 {
		if s.family == iptables.IPv6 && to != "" {
			to = "[" + to + "]"
		}
		if option != "--to-ports" {
			to += ":"
		}
		to += span(r.from, r.to, "-")
		if r.flags&offset != 0 {
			to += "/" + decimal(r.base)
		}
	}
	s.sayIf(to != "", option, to)
	s.sayIf(r.flags&random != 0, "--random")
	s.sayIf(r.flags&fully != 0, "--random-fully")
	s.sayIf(r.flags&persistent != 0, "--persistent")
}

// netmapWords reads the same structs: the range is a network.
func netmapWords(s *speech) {
	r := s.natRange()
	at, last := 4, 20
	if s.revision == 0 && s.family == iptables.IPv4 {
		at, last = 8, 12
	}
	size := s.addressSize()
	first, end := s.bytes(at, size), s.bytes(last, size)
	bits := 0
	for bits < 8*size && (first[bits/8]^end[bits/8])&(0x80>>(bits%8)) == 0 {
		bits++
	}
	to := r.first
	if bits < 8*size {
		to += "/" + strconv.Itoa(bits)
	}
	s.say("--to", to)
}

// rejectWords reads struct ipt_reject_info and ip6t_reject_info
// (linux/netfilter_ipv4/ipt_REJECT.h, linux/netfilter_ipv6/ip6t_REJECT.h).
func rejectWords(s *speech) {
	names := []string{
		"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "echo-reply",
		"icmp-net-prohibited", "icmp-host-prohibited", "tcp-reset", "icmp-admin-prohibited",
	}
	if s.family == iptables.IPv6 {
		names = []string{
			"icmp6-no-route", "icmp6-adm-prohibited", "not-neighbour", "icmp6-addr-unreachable", "icmp6-port-unreachable",
			"echo-reply", "tcp-reset", "icmp6-policy-fail", "icmp6-reject-route",
		}
	}
	with := s.u32(0)
	if with >= uint32(len(names)) {
		s.silent = true
		return
	}
	s.say("--reject-with", names[with])
}

// logWords reads struct xt_log_info (linux/netfilter/xt_LOG.h).
func logWords(s *speech) {
	const warning = 4 // LOG_WARNING, iptables' default
	if prefix := s.text(2, 30); prefix != "" {
		s.say("--log-prefix", `"`+prefix+`"`)
	}
	s.sayIf(s.u8(0) != warning, "--log-level", decimal(s.u8(0)))
	flags := s.u8(1)
	s.sayIf(flags&0x01 != 0, "--log-tcp-sequence")
	s.sayIf(flags&0x02 != 0, "--log-tcp-options")
	s.sayIf(flags&0x04 != 0, "--log-ip-options")
	s.sayIf(flags&0x08 != 0, "--log-uid")
	s.sayIf(flags&0x20 != 0, "--log-macdecode")
}

// nflogWords reads struct xt_nflog_info (linux/netfilter/xt_NFLOG.h).
func nflogWords(s *speech) {
	const usualThreshold, copies = 1, 1
	if prefix := s.text(12, 64); prefix != "" {
		s.say("--nflog-prefix", iptables.Quote(prefix))
	}
	s.sayIf(s.u16(4) != 0, "--nflog-group", decimal(s.u16(4)))
	if length := s.u32(0); length != 0 && s.u16(8)&copies != 0 {
		s.say("--nflog-size", decimal(length))
	} else {
		s.sayIf(length != 0, "--nflog-range", decimal(length))
	}
	s.sayIf(s.u16(6) > usualThreshold, "--nflog-threshold", decimal(s.u16(6)))
}

// nfqueueWords reads struct xt_NFQ_info to xt_NFQ_info_v3 (linux/netfilter/xt_NFQUEUE.h).
func nfqueueWords(s *speech) {
	first, total, flags := s.u16(0), s.u16(2), s.u16(4)
	if s.revision > 0 && total > 1 {
		s.say("--queue-balance", decimal(first)+":"+decimal(first+total-1))
	} else {
		s.say("--queue-num", decimal(first))
	}
	s.sayIf(s.revision > 1 && flags&1 != 0, "--queue-bypass")
	s.sayIf(s.revision > 2 && flags&2 != 0, "--queue-cpu-fanout")
}

// Flags of CT (linux/netfilter/xt_CT.h).
const (
	ctNotrack   = 1 << 0
	ctAlias     = 1 << 1 // the target is called NOTRACK
	ctZoneOrig  = 1 << 2
	ctZoneReply = 1 << 3
	ctZoneMark  = 1 << 4
)

// ctWords reads struct xt_ct_target_info and xt_ct_target_info_v1.
func ctWords(s *speech) {
	flags, zone := s.u16(0), decimal(s.u16(2))
	if flags&ctAlias != 0 {
		return
	}
	s.sayIf(flags&ctNotrack != 0, "--notrack")
	if helper := s.text(12, 16); helper != "" {
		s.say("--helper", helper)
	}
	if timeout := s.text(28, 32); s.revision > 0 && timeout != "" {
		s.say("--timeout", timeout)
	}
	// enum ip_conntrack_events and ip_conntrack_expect_events in
	// linux/netfilter/nf_conntrack_common.h
	if events := s.u32(4); events != 0 {
		s.say("--ctevents", bitWords(events, "new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark"))
	}
	s.sayIf(s.u32(8) != 0, "--expevents", bitWords(s.u32(8), "new"))
	option := "--zone"
	switch {
	case flags&ctZoneOrig != 0 && flags&ctZoneReply == 0:
		option = "--zone-orig"
	case flags&ctZoneReply != 0 && flags&ctZoneOrig == 0:
		option = "--zone-reply"
	}
	if flags&ctZoneMark != 0 {
		s.say(option, "mark")
	} else {
		s.sayIf(zone != "0", option, zone)
	}
}

// tcpmssWords reads struct xt_tcpmss_info (linux/netfilter/xt_TCPMSS.h).
func tcpmssWords(s *speech) {
	if size := s.u16(0); size != 0xffff {
		s.say("--set-mss", decimal(size))
		return
	}
	s.say("--clamp-mss-to-pmtu")
}

// tcpoptstripWords reads struct xt_tcpoptstrip_target_info
// (linux/netfilter/xt_TCPOPTSTRIP.h).
func tcpoptstripWords(s *speech) {
	var options []string
	for option := range 256 {
		if s.u32(option/32*4)&(1<<(option%32)) != 0 {
			options = append(options, decimal(option))
		}
	}
	s.say("--strip-options", strings.Join(options, ","))
}

// teeWords reads struct xt_tee_tginfo (linux/netfilter/xt_TEE.h).
func teeWords(s *speech) {
	s.say("--gateway", s.address(0))
	if out := s.text(16, 16); out != "" {
		s.say("--oif", out)
	}
}

// setHopLimit reads struct ipt_TTL_info and ip6t_HL_info (linux/netfilter_ipv4/ipt_TTL.h,
// linux/netfilter_ipv6/ip6t_HL.h).
func (s *speech) setHopLimit(option string) {
	ways := []string{"-set", "-inc", "-dec"}
	if int(s.u8(0)) >= len(ways) {
		s.silent = true
		return
	}
	s.say(option+ways[s.u8(0)], decimal(s.u8(1)))
}

// auditWords reads struct xt_audit_info (linux/netfilter/xt_AUDIT.h).
func auditWords(s *speech) {
	names := []string{"accept", "drop", "reject"}
	if int(s.u8(0)) >= len(names) {
		s.silent = true
		return
	}
	s.say("--type", names[s.u8(0)])
}

// connsecmarkWords reads struct xt_connsecmark_target_info
// (linux/netfilter/xt_CONNSECMARK.h).
func connsecmarkWords(s *speech) {
	const save = 1
	if s.u8(0) == save {
		s.say("--save")
	} else {
		s.say("--restore")
	}
}

// idletimerWords reads struct idletimer_tg_info and idletimer_tg_info_v1
// (linux/netfilter/xt_IDLETIMER.h).
func idletimerWords(s *speech) {
	const alarm = 1
	s.say("--timeout", decimal(s.u32(0)), "--label", s.text(4, 28))
	s.sayIf(s.revision == 1 && s.u8(33) == alarm, "--alarm")
}

// synproxyWords reads struct nf_synproxy_info (linux/netfilter/nf_synproxy.h).
func synproxyWords(s *speech) {
	const size, scale, selective, timestamp = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	options := s.u8(0)
	s.sayIf(options&selective != 0, "--sack-perm")
	s.sayIf(options&timestamp != 0, "--timestamp")
	s.sayIf(options&scale != 0, "--wscale", decimal(s.u8(1)))
	s.sayIf(options&size != 0, "--mss", decimal(s.u16(2)))
}

// prefixWords reads struct ip6t_npt_tginfo (linux/netfilter_ipv6/ip6t_NPT.h).
func prefixWords(s *speech) {
	s.say("--src-pfx", s.address(0)+"/"+decimal(s.u8(32)), "--dst-pfx", s.address(16)+"/"+decimal(s.u8(33)))
}

// setTargetWords reads struct xt_set_info_target_v1 to v3 (linux/netfilter/xt_set.h), whose
// parts are struct xt_set_info.
func setTargetWords(s *speech) {
	const none = 0xffff
	for i, option := range []string{"--add-set", "--del-set", "--map-set"} {
		at := 4 * i
		if option == "--map-set" && s.revision < 3 {
			break
		}
		if s.u16(at) != none {
			s.say(option, s.setWord(at), setSides(s.u8(at+2), s.u8(at+3)))
		}
	}
}

// ecnTargetWords reads struct ipt_ECN_info (linux/netfilter_ipv4/ipt_ECN.h), as far as
// iptables sets it now.
func ecnTargetWords(s *speech) {
	const echo, reduced = 0x10, 0x20
	s.silent = s.u8(0) != echo|reduced || s.u8(2)&3 != 0
	s.say("--ecn-tcp-remove")
}
