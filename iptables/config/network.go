package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// Port returns a value that is one port, not 0.
func Port(target *uint16) pflag.Value {
	parse := func(text string) (uint16, error) {
		p, err := strconv.ParseUint(text, 10, 16)
		if err != nil || p == 0 {
			return 0, errors.New("must be one port, from 1 to 65535")
		}
		return uint16(p), nil
	}
	return scalar[uint16]{target, "port", parse, func(p uint16) string { return strconv.Itoa(int(p)) }}
}

// AddrPort returns a value that is an address and a port, not 0, to listen at. Without an
// address that is [netip.IPv6Unspecified].
func AddrPort(target *netip.AddrPort) pflag.Value {
	parse := func(text string) (netip.AddrPort, error) {
		if strings.HasPrefix(text, ":") {
			text = "[::]" + text
		}
		a, err := netip.ParseAddrPort(text)
		if err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
			return a, errors.New("must be an address and a port such as 127.0.0.1:8080, or a port such as :8080")
		}
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	text := func(a netip.AddrPort) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return scalar[netip.AddrPort]{target, "address:port", parse, text}
}

func portList(target *[]iptables.PortRange) List[iptables.PortRange] {
	return List[iptables.PortRange]{
		Target: target,
		Kind:   "ports",
		Must:   "ports such as 80 or 8000-8010",
		Parse:  ParsePorts,
		Print:  iptables.PortRange.String,
	}
}

// Ports returns a value that is a list of ports and port ranges.
func Ports(target *[]iptables.PortRange) pflag.Value { return portList(target) }

// ParsePorts reads a port or a range of ports. Its errors follow the word in messages.
func ParsePorts(word string) (iptables.PortRange, error) {
	r, err := iptables.ParsePortRange(word)
	if err != nil {
		return r, errors.New("is not a port or a range of ports")
	}
	// No connection has port 0, and in places 0 means "any" to iptables.
	if r.First == 0 {
		return r, errors.New("has port 0, which no connection has")
	}
	return r, nil
}

func cidrList(target *[]netip.Prefix) List[netip.Prefix] {
	return List[netip.Prefix]{
		Target: target,
		Kind:   "CIDRs",
		Must:   "addresses or CIDRs such as 10.0.0.0/8 or 2001:db8::1",
		Parse:  parsePrefix,
		Print:  iptables.PrefixText,
	}
}

// CIDRs returns a value that is a list of addresses and networks of both families. It
// clears host bits.
func CIDRs(target *[]netip.Prefix) pflag.Value { return cidrList(target) }

// parsePrefix reads a prefix or an address, clearing host bits.
func parsePrefix(word string) (netip.Prefix, error) {
	p, ok := parseNetwork(word)
	if !ok {
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

// parseNetwork reads a prefix. An error of [netip.ParsePrefix] takes longer to make than an
// address to read, and lists can have thousands of addresses.
func parseNetwork(word string) (p netip.Prefix, ok bool) {
	if !strings.Contains(word, "/") {
		return p, false
	}
	p, err := netip.ParsePrefix(word)
	return p, err == nil
}

// ParseHost reads the address of a machine, such as a pod; who names it in the error.
func ParseHost(word, who string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	switch {
	case err != nil:
		return a, errors.New("is not an address")
	case a.Zone() != "":
		return a, errors.New("has a zone")
	case a.Is4In6():
		return a, errors.New("is IPv4 written as IPv6")
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
		return a, errors.New("is not an address that " + who + " can have")
	}
	return a, nil
}

// CIDRWithin returns a value that is an address or a network within another network.
func CIDRWithin(target *netip.Prefix, all netip.Prefix) pflag.Value {
	parse := func(text string) (netip.Prefix, error) {
		p, err := parsePrefix(text)
		if err != nil || !all.Contains(p.Addr()) || p.Bits() < all.Bits() {
			return netip.Prefix{}, fmt.Errorf("must be an address or a CIDR within %v", all)
		}
		return p, nil
	}
	return scalar[netip.Prefix]{target, "CIDR", parse, netip.Prefix.String}
}

// Interfaces returns a value that is a list of interface names. A trailing "+", as iptables has
// it, or "*" matches any rest of a name; it ends up as "+".
func Interfaces(target *[]string) pflag.Value {
	return List[string]{
		Target: target,
		Kind:   "interfaces",
		Must:   "names of interfaces such as eth1 or docker*",
		Parse:  parseInterface,
		Print:  sameText,
		OfAll:  everyInterface,
	}
}

const everyInterface = "would match every interface"

// parseInterface follows dev_valid_name in net/core/dev.c. It also refuses what would
// end or change a word of iptables-restore's input.
func parseInterface(name string) (string, error) {
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		name = prefix + "+"
	}
	switch {
	case len(name) > iptables.MaxInterfaceName:
		return "", fmt.Errorf("is longer than %d bytes", iptables.MaxInterfaceName)
	case name == "." || name == "..":
		return "", errors.New("is not a name")
	case name == "+":
		return "", errors.New(everyInterface)
	}
	for i := range len(name) {
		// 0xa0 is a no-break space to the kernel.
		if c := name[i]; c <= ' ' || c == 0x7f || c == 0xa0 || strings.IndexByte(`/:"'\!*`, c) >= 0 {
			return "", fmt.Errorf("has a character that is not allowed, %q", string(c))
		}
	}
	return name, nil
}
