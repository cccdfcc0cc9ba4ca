package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseMatch reads the arguments of "-m NAME". Whatever it does not understand
// to the last word becomes an UnknownMatch: better not known than known wrongly.
func parseMatch(name string, args []string) Match {
	var m Match
	switch name {
	case "tcp", "udp":
		m = parsePorts(Protocol(name), args)
	case "multiport":
		m = parseMultiport(args)
	case "owner":
		m = parseOwner(args)
	case "conntrack":
		m = parseConntrack(args)
	case "mark":
		if value, mask, not, ok := parseMarkMatch(args); ok {
			m = Mark{value, mask, not}
		}
	case "connmark":
		if value, mask, not, ok := parseMarkMatch(args); ok {
			m = Connmark{value, mask, not}
		}
	case commentName:
		m = parseComment(args)
	}
	// A second reading has to give the same, so a form that is not canonical
	// stays as it is.
	if m == nil || !slices.Equal(m.appendSave(nil)[2:], args) {
		return UnknownMatch{Name: name, Args: args}
	}
	return m
}

// arg is one option of an extension: "[!] --name value".
type arg struct {
	not         bool
	name, value string
}

// splitArgs reads args as options that have one value each.
func splitArgs(words []string) (args []arg, ok bool) {
	for len(words) > 0 {
		var a arg
		if a.not = words[0] == "!"; a.not {
			words = words[1:]
		}
		if len(words) < 2 {
			return nil, false
		}
		a.name, a.value = words[0], words[1]
		args = append(args, a)
		words = words[2:]
	}
	return args, true
}

func parsePorts(protocol Protocol, words []string) Match {
	m := Ports{Protocol: protocol}
	args, ok := splitArgs(words)
	if !ok {
		return nil
	}
	for _, a := range args {
		ports, err := ParsePortRange(a.value)
		if err != nil {
			return nil
		}
		p := PortMatch{Range: ports, Not: a.not, Set: true}
		switch a.name {
		case "--sport":
			m.Source = p
		case "--dport":
			m.Destination = p
		default:
			return nil
		}
	}
	return m
}

func parseMultiport(words []string) Match {
	args, ok := splitArgs(words)
	if !ok || len(args) != 1 {
		return nil
	}
	m := Multiport{Side: PortSide(args[0].name), Not: args[0].not}
	if m.Side != SourcePorts && m.Side != DestinationPorts && m.Side != EitherPorts {
		return nil
	}
	for s := range strings.SplitSeq(args[0].value, ",") {
		ports, err := ParsePortRange(s)
		if err != nil {
			return nil
		}
		m.Ports = append(m.Ports, ports)
	}
	return m
}

func parseOwner(words []string) Match {
	var m Owner
	args, ok := splitArgs(words)
	if !ok {
		return nil
	}
	for _, a := range args {
		first, last, isRange := strings.Cut(a.value, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil {
			return nil
		}
		id := IDMatch{First: uint32(from), Last: uint32(to), Not: a.not, Set: true}
		switch a.name {
		case "--uid-owner":
			m.UID = id
		case "--gid-owner":
			m.GID = id
		default:
			return nil
		}
	}
	return m
}

func parseConntrack(words []string) Match {
	args, ok := splitArgs(words)
	if !ok || len(args) != 1 || args[0].name != "--ctstate" {
		return nil
	}
	m := Conntrack{Not: args[0].not}
	for name := range strings.SplitSeq(args[0].value, ",") {
		i := slices.Index(stateNames[:], name)
		if i < 0 {
			return nil
		}
		m.States |= 1 << i
	}
	return m
}

func parseMarkMatch(words []string) (value, mask uint32, not, ok bool) {
	args, ok := splitArgs(words)
	if !ok || len(args) != 1 || args[0].name != "--mark" {
		return 0, 0, false, false
	}
	value, mask, ok = parseMaskedMark(args[0].value)
	return value, mask, args[0].not, ok
}

// parseMaskedMark reads "value" or "value/mask".
func parseMaskedMark(s string) (value, mask uint32, ok bool) {
	first, second, hasMask := strings.Cut(s, "/")
	if !hasMask {
		second = "0xffffffff"
	}
	v, err1 := strconv.ParseUint(first, 0, 32)
	m, err2 := strconv.ParseUint(second, 0, 32)
	return uint32(v), uint32(m), err1 == nil && err2 == nil
}

func parseComment(words []string) Match {
	if len(words) != 2 || words[0] != "--comment" {
		return nil
	}
	m := Comment{unquote(words[1])}
	if m.Validate() != nil {
		return nil
	}
	return m
}

// parseTarget reads the arguments of "-j NAME". A name without arguments that is
// no verdict and no known target is taken for a chain.
func parseTarget(family Family, name string, words []string) Target {
	var t Target
	args, ok := splitArgs(words)
	switch {
	case !ok:
		// Known targets have a value with every option, or no options.
	case name == "REDIRECT":
		t = parseRedirect(args)
	case name == "TPROXY":
		t = parseTProxy(family, args)
	case name == "MARK":
		t = parseSetMark(args)
	case name == "CT":
		t = parseCTZone(args)
	case len(words) == 0 && (Verdict(name) == Accept || Verdict(name) == Drop || Verdict(name) == Return):
		t = Verdict(name)
	case len(words) == 0:
		t = Jump{name}
	}
	if name == "CONNMARK" {
		t = parseCopyMark(words)
	}
	if t == nil || !slices.Equal(t.appendSave(nil)[2:], words) {
		return UnknownTarget{Name: name, Args: words}
	}
	return t
}

func parseRedirect(args []arg) Target {
	if len(args) == 0 {
		return Redirect{}
	}
	ports, err := ParsePortRange(args[0].value)
	if len(args) != 1 || args[0].name != "--to-ports" || err != nil {
		return nil
	}
	return Redirect{ports}
}

func parseTProxy(family Family, args []arg) Target {
	t := TProxy{IP: family.Unspecified()}
	for _, a := range args {
		var err error
		ok := true
		switch a.name {
		case "--on-port":
			var port uint64
			port, err = strconv.ParseUint(a.value, 10, 16)
			t.Port = uint16(port)
		case "--on-ip":
			t.IP, err = netip.ParseAddr(a.value)
		case "--tproxy-mark":
			t.Mark, t.Mask, ok = parseMaskedMark(a.value)
		default:
			return nil
		}
		if err != nil || !ok {
			return nil
		}
	}
	return t
}

func parseSetMark(args []arg) Target {
	if len(args) != 1 || args[0].name != "--set-xmark" {
		return nil
	}
	value, mask, ok := parseMaskedMark(args[0].value)
	if !ok {
		return nil
	}
	return SetMark{value, mask}
}

// parseCopyMark reads "--save-mark --nfmask M --ctmask M" and the same with
// --restore-mark.
func parseCopyMark(words []string) Target {
	if len(words) != 5 || words[1] != "--nfmask" || words[3] != "--ctmask" {
		return nil
	}
	packet, err1 := strconv.ParseUint(words[2], 0, 32)
	connection, err2 := strconv.ParseUint(words[4], 0, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	switch words[0] {
	case "--save-mark":
		return SaveMark{uint32(packet), uint32(connection)}
	case "--restore-mark":
		return RestoreMark{uint32(packet), uint32(connection)}
	}
	return nil
}

func parseCTZone(args []arg) Target {
	if len(args) != 1 || args[0].name != "--zone" {
		return nil
	}
	zone, err := strconv.ParseUint(args[0].value, 10, 16)
	if err != nil {
		return nil
	}
	return CTZone{uint16(zone)}
}
