package sidecar

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// UserTraffic is what users send: by one protocol, or by any if Protocol is empty; to
// some ports, or to any if Ports is zero.
type UserTraffic struct {
	Protocol iptables.Protocol
	Ports    iptables.PortRange
	// First and Last are an inclusive range of user ids.
	First, Last uint32
}

// userTraffic is a list of users, each with an optional protocol and optional ports before
// it: "1000", "udp:1000", "53:1000", "udp:53:1000", "tcp:8000-8010:1000-1005".
func userTraffic(target *[]UserTraffic, find config.Lookup) pflag.Value {
	return config.List[UserTraffic]{
		Target: target,
		Kind:   "users",
		Must:   "users such as 1000, udp:53:1000 or tcp:8000-8010:1000-1005",
		Parse:  func(word string) (UserTraffic, error) { return parseUserTraffic(word, find) },
		Print:  UserTraffic.String,
	}
}

func parseUserTraffic(word string, find config.Lookup) (t UserTraffic, err error) {
	parts := strings.Split(word, ":")
	who := parts[len(parts)-1]
	parts = parts[:len(parts)-1]
	if len(parts) > 0 && (parts[0] == string(iptables.TCP) || parts[0] == string(iptables.UDP)) {
		t.Protocol = iptables.Protocol(parts[0])
		parts = parts[1:]
	}
	if len(parts) > 0 {
		if t.Ports, err = config.ParsePorts(strings.Join(parts, ":")); err != nil {
			return t, err
		}
	}
	// A name may have a dash too.
	first, last, isRange := strings.Cut(who, "-")
	if !isRange || strings.Trim(first+last, "0123456789") != "" {
		first, last = who, who
	}
	if t.First, err = config.ParseID(first, "user", find); err != nil {
		return t, err
	}
	if t.Last, err = config.ParseID(last, "user", find); err != nil {
		return t, err
	}
	if t.First > t.Last {
		return t, errors.New("has a range that ends before it starts")
	}
	return t, nil
}

// String returns the traffic as --excluded-uids takes it, such as "udp:53:1000".
func (t UserTraffic) String() string {
	var b strings.Builder
	if t.Protocol != "" {
		b.WriteString(string(t.Protocol) + ":")
	}
	if t.Ports != (iptables.PortRange{}) {
		b.WriteString(strings.ReplaceAll(t.Ports.String(), ":", "-") + ":")
	}
	b.WriteString(number(t.First))
	if t.First != t.Last {
		b.WriteString("-" + number(t.Last))
	}
	return b.String()
}
