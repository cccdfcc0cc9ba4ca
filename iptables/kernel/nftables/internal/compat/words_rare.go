package compat

import (
	"fmt"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// hashlimitWords reads struct xt_hashlimit_mtinfo1 to 3 (linux/netfilter/xt_hashlimit.h).
func hashlimitWords(s *speech) {
	const inverted, inBytes, rateMatch = 1 << 4, 1 << 5, 1 << 6
	name, at, second := s.text(0, 255), 256, uint64(1000000)
	var average, burst uint64
	if s.revision == 1 {
		name, at, second = s.text(0, 16), 16, 10000
		average, burst = uint64(s.u32(at+4)), uint64(s.u32(at+8))
		at += 4 // so that what follows the mode and the two is at the same place
	} else {
		average, burst = s.u64(at), s.u64(at+8)
		at += 16
	}
	mode := s.u32(at)
	if s.revision == 1 {
		mode = s.u32(16)
		at = 16 + 8
	}
	if mode&rateMatch != 0 || mode&inBytes != 0 && s.revision == 1 {
		s.silent = true
		return
	}
	option := "--hashlimit-upto"
	if mode&inverted != 0 {
		option = "--hashlimit-above"
	}
	expiry := uint32(byteExpiry)
	if mode&inBytes != 0 {
		s.say(option, byteRate(average)+"/s")
		s.sayIf(burst > 1, "--hashlimit-burst", bytesWord(bytesOf(average)*burst))
	} else {
		rate, seconds := rateOf(average, second)
		expiry = uint32(1000 * seconds)
		s.say(option, rate, "--hashlimit-burst", decimal(burst))
	}
	s.sayIf(mode&0xf != 0, "--hashlimit-mode", hashModes(mode))
	s.say("--hashlimit-name", iptables.Quote(name))
	const usualInterval = 1000
	for _, o := range []struct {
		option       string
		value, usual uint32
	}{
		{"--hashlimit-htable-size", s.u32(at + 4), 0}, {"--hashlimit-htable-max", s.u32(at + 8), 0},
		{"--hashlimit-htable-gcinterval", s.u32(at + 12), usualInterval}, {"--hashlimit-htable-expire", s.u32(at + 16), expiry},
	} {
		s.sayIf(o.value != o.usual, o.option, decimal(o.value))
	}
	masks := at + 20
	if s.revision == 3 {
		masks += 4
	}
	whole := byte(8 * s.addressSize())
	s.sayIf(s.u8(masks) != whole, "--hashlimit-srcmask", decimal(s.u8(masks)))
	s.sayIf(s.u8(masks+1) != whole, "--hashlimit-dstmask", decimal(s.u8(masks+1)))
}

// hashModes returns the fields that a limit is for, in iptables' order.
func hashModes(mode uint32) string {
	const destination, destinationPort, source, sourcePort = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	var words []string
	for _, m := range []struct {
		bit  uint32
		name string
	}{{source, "srcip"}, {sourcePort, "srcport"}, {destination, "dstip"}, {destinationPort, "dstport"}} {
		if mode&m.bit != 0 {
			words = append(words, m.name)
		}
	}
	return strings.Join(words, ",")
}

// byteExpiry is how long entries for rates of bytes live by default, in milliseconds
// (XT_HASHLIMIT_BYTE_EXPIRE in iptables' extensions/libxt_hashlimit.c).
const byteExpiry = 15000

// byteRate returns a rate of bytes in a second.
func byteRate(cost uint64) string { return bytesWord(bytesOf(cost)) }

// bytesOf undoes bytes_to_cost of libxt_hashlimit.c: the kernel counts in units of 16
// bytes (XT_HASHLIMIT_BYTE_SHIFT).
func bytesOf(cost uint64) uint64 {
	rate := uint64(^uint32(0))
	if cost != 0 {
		rate /= cost
	}
	return (rate - 1) << 4
}

func bytesWord(n uint64) string {
	unit := "b"
	for _, larger := range []string{"kb", "mb"} {
		if n < 1024 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return decimal(n) + unit
}

// recentWords reads struct xt_recent_mtinfo and xt_recent_mtinfo_v1
// (linux/netfilter/xt_recent.h).
func recentWords(s *speech) {
	const check, set, update, remove, ttl, reap = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
	flags := s.u8(8)
	not := s.u8(9) != 0
	for _, o := range []struct {
		bit    byte
		option string
	}{{set, "--set"}, {check, "--rcheck"}, {update, "--update"}, {remove, "--remove"}} {
		if flags&o.bit != 0 {
			s.option(not, o.option)
			break
		}
	}
	s.sayIf(s.u32(0) != 0, "--seconds", decimal(s.u32(0)))
	s.sayIf(flags&reap != 0, "--reap")
	s.sayIf(s.u32(4) != 0, "--hitcount", decimal(s.u32(4)))
	s.sayIf(flags&ttl != 0, "--rttl")
	s.say("--name", iptables.Quote(s.text(10, 200)))
	if s.revision == 1 {
		s.say("--mask", s.address(212))
	}
	if s.u8(210) == 1 {
		s.say("--rdest")
	} else {
		s.say("--rsource")
	}
}

// stringWords reads struct xt_string_info (linux/netfilter/xt_string.h).
func stringWords(s *speech) {
	flags, length := s.u8(149), int(s.u8(148))
	pattern := string(s.bytes(20, min(length, 128)))
	printable := strings.IndexFunc(pattern, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if printable && (pattern == "" || pattern[0] != '|') {
		word := `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(pattern) + `"`
		s.option(flags&1 != 0, "--string", word)
	} else {
		s.option(flags&1 != 0, "--hex-string", fmt.Sprintf(`"|%x|"`, pattern))
	}
	s.say("--algo", s.text(4, 16))
	s.sayIf(s.u16(0) != 0, "--from", decimal(s.u16(0)))
	s.sayIf(s.u16(2) != 0 && s.u16(2) != 0xffff, "--to", decimal(s.u16(2)))
	s.sayIf(flags&2 != 0, "--icase")
}

// timeWords reads struct xt_time_info (linux/netfilter/xt_time.h).
func timeWords(s *speech) {
	const wholeDay, everyDate, everyWeekday = 24*60*60 - 1, 0xfffffffe, 0xfe
	first, last := s.u32(8), s.u32(12)
	if first != 0 || last != wholeDay {
		s.say("--timestart", clock(first), "--timestop", clock(last))
	}
	if dates := s.u32(16); dates != everyDate {
		var days []string
		for day := 1; day < 32; day++ {
			if dates&(1<<day) != 0 {
				days = append(days, decimal(day))
			}
		}
		s.say("--monthdays", strings.Join(days, ","))
	}
	if days := s.u8(20); days != everyWeekday {
		s.say("--weekdays", bitWords(uint32(days), "", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
	}
	s.sayIf(s.u32(0) != 0, "--datestart", date(s.u32(0)))
	s.sayIf(s.u32(4) != ^uint32(0), "--datestop", date(s.u32(4)))
	s.sayIf(s.u8(21)&1 != 0, "--kerneltz")
	s.sayIf(s.u8(21)&2 != 0, "--contiguous")
}

func clock(seconds uint32) string {
	return fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

func date(seconds uint32) string {
	return time.Unix(int64(seconds), 0).UTC().Format("2006-01-02T15:04:05")
}

// Sizes of struct xt_u32 (linux/netfilter/xt_u32.h).
const (
	u32Elements = 11
	u32Test     = u32Elements*8 + u32Elements*8 + 4
	u32Size     = u32Elements*u32Test + 2
)

func u32Words(s *speech) {
	operators := []string{"&", "<<", ">>", "@"}
	var tests []string
	for t := range min(int(s.u8(u32Elements*u32Test)), u32Elements) {
		at := t * u32Test
		values := at + u32Elements*8
		count, ranges := int(s.u8(at+2*u32Elements*8)), int(s.u8(at+2*u32Elements*8+1))
		test := fmt.Sprintf("%#x", s.u32(at))
		for i := 1; i < min(count, u32Elements); i++ {
			test += operators[s.u8(at+8*i+4)&3] + fmt.Sprintf("%#x", s.u32(at+8*i))
		}
		var all []string
		for i := range min(ranges, u32Elements) {
			first, last := s.u32(values+8*i), s.u32(values+8*i+4)
			word := fmt.Sprintf("%#x", first)
			if first != last {
				word += fmt.Sprintf(":%#x", last)
			}
			all = append(all, word)
		}
		tests = append(tests, test+"="+strings.Join(all, ","))
	}
	s.option(s.u8(u32Elements*u32Test+1) != 0, "--u32", `"`+strings.Join(tests, "&&")+`"`)
}

// bpfWords reads struct xt_bpf_info_v1 (linux/netfilter/xt_bpf.h).
func bpfWords(s *speech) {
	const bytecode, pinned = 0, 1
	switch s.u16(0) {
	case pinned:
		s.say("--object-pinned", s.text(8, 512))
	case bytecode:
		count := int(s.u16(2))
		words := []string{decimal(count)}
		for i := range min(count, 64) {
			at := 8 + 8*i
			words = append(words, fmt.Sprintf("%d %d %d %d", s.u16(at), s.u8(at+2), s.u8(at+3), s.u32(at+4)))
		}
		s.say("--bytecode", `"`+strings.Join(words, ",")+`"`)
	default:
		s.silent = true
	}
}

// cgroupWords reads struct xt_cgroup_info_v0 (linux/netfilter/xt_cgroup.h).
func cgroupWords(s *speech) { s.option(s.u32(4) != 0, "--cgroup", decimal(s.u32(0))) }

// cgroupPathWords reads struct xt_cgroup_info_v1 and v2.
func cgroupPathWords(s *speech) {
	path, class := 4096, 4+4096
	if s.revision == 2 {
		path, class = 512, 4
	}
	if s.u8(0) != 0 {
		s.option(s.u8(2) != 0, "--path", iptables.Quote(s.text(4, path)))
	}
	if s.u8(1) != 0 {
		s.option(s.u8(3) != 0, "--cgroup", decimal(s.u32(class)))
	}
}

// policyWords reads struct xt_policy_info (linux/netfilter/xt_policy.h), whose elements
// are struct xt_policy_elem.
func policyWords(s *speech) {
	const in, out, none, strict, elements, size = 1, 2, 4, 8, 4, 76
	flags, count := s.u16(elements*size), int(s.u16(elements*size+2))
	way := "in"
	if flags&out != 0 {
		way = "out"
	}
	s.say("--dir", way)
	if flags&none != 0 {
		s.say("--pol", "none")
		return
	}
	s.say("--pol", "ipsec")
	s.sayIf(flags&strict != 0, "--strict")
	for i := range min(count, elements) {
		s.sayIf(i > 0, "--next")
		s.policyElement(i * size)
	}
}

func (s *speech) policyElement(at int) {
	const source, destination, protocol, mode, spi, id = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
	given, not := s.u8(at+74), s.u8(at+75)
	option := func(bit byte, words ...string) {
		if given&bit != 0 {
			s.option(not&bit != 0, words...)
		}
	}
	option(id, "--reqid", decimal(s.u32(at+68)))
	option(spi, "--spi", fmt.Sprintf("%#x", uint32(s.be16(at+64))<<16|uint32(s.be16(at+66))))
	option(protocol, "--proto", policyProtocol(s.u8(at+72)))
	modes := []string{"transport", "tunnel"}
	option(mode, "--mode", modes[s.u8(at+73)&1])
	option(destination, "--tunnel-dst", s.network(at+32))
	option(source, "--tunnel-src", s.network(at))
}

func policyProtocol(number byte) string {
	if number == unix.IPPROTO_COMP {
		return "ipcomp"
	}
	return string(iptables.ProtocolOf(number))
}

// connlabelWords reads struct xt_connlabel_mtinfo (linux/netfilter/xt_connlabel.h).
func connlabelWords(s *speech) {
	const inverted, sets = 1, 2
	s.option(s.u16(2)&inverted != 0, "--label", `"`+decimal(s.u16(0))+`"`)
	s.sayIf(s.u16(2)&sets != 0, "--set")
}

// ecnWords reads struct xt_ecn_info (linux/netfilter/xt_ecn.h).
func ecnWords(s *speech) {
	const ip, echo, reduced = 0x01, 0x10, 0x20
	operation, not := s.u8(0), s.u8(1)
	if operation&echo != 0 {
		s.option(not&echo != 0, "--ecn-tcp-ece")
	}
	if operation&reduced != 0 {
		s.option(not&reduced != 0, "--ecn-tcp-cwr")
	}
	if operation&ip != 0 {
		s.option(not&ip != 0, "--ecn-ip-ect", decimal(s.u8(2)))
	}
}

// espWords reads struct xt_esp (linux/netfilter/xt_esp.h).
func espWords(s *speech) {
	first, last, not := s.u32(0), s.u32(4), s.u8(8)&1 != 0
	if first != 0 || last != ^uint32(0) || not {
		s.option(not, "--espspi", span(first, last, ":"))
	}
}

// sctpWords reads struct xt_sctp_info (linux/netfilter/xt_sctp.h), if it has only ports.
func sctpWords(s *speech) { s.portsAndMore(s.u32(284), s.u32(288)) }

// dccpWords reads struct xt_dccp_info (linux/netfilter/xt_dccp.h), if it has only ports.
func dccpWords(s *speech) { s.portsAndMore(uint32(s.u16(8)), uint32(s.u16(10))) }

func (s *speech) portsAndMore(given, not uint32) {
	const source, destination = 1, 2
	if given&source != 0 {
		s.option(not&source != 0, "--sport", span(s.u16(4), s.u16(6), ":"))
	}
	if given&destination != 0 {
		s.option(not&destination != 0, "--dport", span(s.u16(0), s.u16(2), ":"))
	}
	s.silent = given&^(source|destination) != 0
}
