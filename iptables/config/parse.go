package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

func port(target *uint16) pflag.Value {
	parse := func(text string) (uint16, error) {
		p, err := strconv.ParseUint(text, 10, 16)
		if err != nil || p == 0 {
			return 0, errors.New("must be one port, from 1 to 65535")
		}
		return uint16(p), nil
	}
	return scalar[uint16]{target, "port", parse, func(p uint16) string { return strconv.Itoa(int(p)) }}
}

func portList(target *[]iptables.PortRange) list[iptables.PortRange] {
	return list[iptables.PortRange]{
		target: target,
		kind:   "ports",
		must:   "ports such as 80 or 8000-8010",
		parse:  parsePorts,
		print:  iptables.PortRange.String,
	}
}

func ports(target *[]iptables.PortRange) pflag.Value { return portList(target) }

func portSelection(s *PortSelection) pflag.Value {
	return newSelection(&s.All, portList(&s.Ports))
}

func parsePorts(word string) (iptables.PortRange, error) {
	r, err := iptables.ParsePortRange(word)
	if err != nil {
		return r, errors.New("is not a port or a range of ports")
	}
	// No connection has port 0, and iptables takes 0 in places for "any".
	if r.First == 0 {
		return r, errors.New("has port 0, which no connection has")
	}
	return r, nil
}

func cidrList(target *[]netip.Prefix) list[netip.Prefix] {
	return list[netip.Prefix]{
		target: target,
		kind:   "CIDRs",
		must:   "addresses or CIDRs such as 10.0.0.0/8 or 2001:db8::1",
		parse:  parsePrefix,
		print:  netip.Prefix.String,
	}
}

func cidrs(target *[]netip.Prefix) pflag.Value { return cidrList(target) }

func cidrSelection(s *CIDRSelection) pflag.Value {
	return newSelection(&s.All, cidrList(&s.CIDRs))
}

// parsePrefix reads a prefix or an address, clearing host bits.
func parsePrefix(word string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(word)
	if err != nil {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			return netip.Prefix{}, errors.New("is neither")
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("has a zone")
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	// Packets to such an address are IPv4, so an IPv6 rule would never match
	// (RFC 4291, section 2.5.5.2).
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("is IPv4 written as IPv6")
	}
	return p.Masked(), nil
}

func loopback(target *netip.Prefix) pflag.Value {
	all := netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	parse := func(text string) (netip.Prefix, error) {
		p, err := parsePrefix(text)
		if err != nil || !all.Contains(p.Addr()) || p.Bits() < all.Bits() {
			return netip.Prefix{}, fmt.Errorf("must be an address or a CIDR within %v", all)
		}
		return p, nil
	}
	return scalar[netip.Prefix]{target, "CIDR", parse, netip.Prefix.String}
}

func mark(target *uint32) pflag.Value {
	return number(target, func(uint32) error { return nil })
}

func routingTable(target *uint32) pflag.Value {
	return number(target, func(n uint32) error {
		// RT_TABLE_DEFAULT, _MAIN and _LOCAL in linux/rtnetlink.h.
		if 253 <= n && n <= 255 {
			return errors.New("must not be 253, 254 or 255: these routing tables are the system's")
		}
		return nil
	})
}

// number is a positive number of 32 bits.
func number(target *uint32, check func(uint32) error) pflag.Value {
	parse := func(text string) (uint32, error) {
		base := 10
		digits, isHex := strings.CutPrefix(strings.ToLower(text), "0x")
		if isHex {
			base = 16
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("must be a number from 1 to %d, decimal or hexadecimal (0x539)", uint32(math.MaxUint32))
		}
		return uint32(n), check(uint32(n))
	}
	return scalar[uint32]{target, "number", parse, formatID}
}

func formatID(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

func interfaces(target *[]string) pflag.Value {
	return list[string]{
		target: target,
		kind:   "interfaces",
		must:   "names of interfaces such as eth1 or virbr+",
		parse:  parseInterface,
		print:  func(name string) string { return name },
	}
}

// parseInterface follows dev_valid_name in net/core/dev.c and refuses besides
// what would end or change a word of iptables-restore's input.
func parseInterface(name string) (string, error) {
	switch {
	case len(name) > iptables.MaxInterfaceName:
		return "", fmt.Errorf("is longer than %d bytes", iptables.MaxInterfaceName)
	case name == "." || name == "..":
		return "", errors.New("is not a name")
	case name == "+":
		return "", errors.New("would be every interface")
	}
	for i := range len(name) {
		// 0xa0 is a no-break space to the kernel.
		if c := name[i]; c <= ' ' || c == 0x7f || c == 0xa0 || strings.IndexByte(`/:"'\!*`, c) >= 0 {
			return "", fmt.Errorf("has a character that is not allowed, %q", string(c))
		}
	}
	return name, nil
}
