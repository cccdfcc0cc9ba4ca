package iptables

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Redirect sends the connection to a port of this machine: in PREROUTING at the address
// of the interface it came in by, in OUTPUT at loopback. Zero Ports keep the port.
type Redirect struct {
	Ports PortRange
}

func (t Redirect) appendSave(words []string) []string {
	words = append(words, "-j", "REDIRECT")
	if t.Ports == (PortRange{}) {
		return words
	}
	ports := strconv.Itoa(int(t.Ports.First))
	if t.Ports.First != t.Ports.Last {
		ports += "-" + strconv.Itoa(int(t.Ports.Last))
	}
	return append(words, "--to-ports", ports)
}

// TProxy hands the packet to a local socket without changing its addresses. It sets the
// bits of Mask in the packet's mark to Mark, so that routing delivers the packet locally
// (Documentation/networking/tproxy.rst). An unspecified IP stands for the address of the
// interface that the packet came in by.
type TProxy struct {
	Port       uint16
	IP         netip.Addr
	Mark, Mask uint32
}

func (t TProxy) appendSave(words []string) []string {
	return append(words, "-j", "TPROXY",
		"--on-port", strconv.Itoa(int(t.Port)), "--on-ip", t.IP.String(),
		"--tproxy-mark", fmt.Sprintf("%#x/%#x", t.Mark, t.Mask))
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
