package iptables

import (
	"fmt"
	"strconv"
	"strings"
)

// DNSPort is the port of name servers (RFC 1035, section 4.2).
const DNSPort = 53

// PortRange is an inclusive range of TCP or UDP ports.
type PortRange struct {
	First, Last uint16
}

// Port returns the range of one port.
func Port(p uint16) PortRange { return PortRange{p, p} }

// Contains reports whether the port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// String returns "80", or "8000:8010" for a range of several ports.
func (r PortRange) String() string {
	var b [len("65535:65535")]byte
	return string(r.appendText(b[:0]))
}

func (r PortRange) appendText(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.First), 10)
	if r.First == r.Last {
		return b
	}
	return strconv.AppendUint(append(b, ':'), uint64(r.Last), 10)
}

// ParsePortRange reads "80", "8000-8010" or "8000:8010".
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, ":")
	if !isRange {
		first, last, isRange = strings.Cut(s, "-")
	}
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return PortRange{}, fmt.Errorf("%q is not a port or a range of ports", s)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}
