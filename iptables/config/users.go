package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// Users looks up ids by name. An unknown name is an error.
type Users interface {
	UserID(name string) (uint32, error)
	GroupID(name string) (uint32, error)
}

var errNoUsers = errors.New("there is no list of users and groups")

func (d *draft) userID(name string) (uint32, error) {
	if d.users == nil {
		return 0, errNoUsers
	}
	return d.users.UserID(name)
}

func (d *draft) groupID(name string) (uint32, error) {
	if d.users == nil {
		return 0, errNoUsers
	}
	return d.users.GroupID(name)
}

// Lookup finds the id for a name.
type Lookup func(name string) (uint32, error)

// UserIDs returns a value that is a list of users by name or number.
func UserIDs(target *[]uint32, find Lookup) pflag.Value { return idList(target, "user", find) }

// GroupIDs returns a value that is a list of groups by name or number.
func GroupIDs(target *[]uint32, find Lookup) pflag.Value { return idList(target, "group", find) }

// idList is a list of users or groups; who is "user" or "group".
func idList(target *[]uint32, who string, find Lookup) List[uint32] {
	return List[uint32]{
		Target: target,
		Kind:   who + "s",
		Must:   who + "s by name or number",
		Parse:  func(word string) (uint32, error) { return ParseID(word, who, find) },
		Print:  formatID,
	}
}

// userTraffic is a list of users, each with a protocol and ports before it or not:
// "1000", "udp:1000", "53:1000", "udp:53:1000", "tcp:8000-8010:1000-1005".
func userTraffic(target *[]UserTraffic, find Lookup) pflag.Value {
	return List[UserTraffic]{
		Target: target,
		Kind:   "users",
		Must:   "users such as 1000, udp:53:1000 or tcp:8000-8010:1000-1005",
		Parse:  func(word string) (UserTraffic, error) { return parseUserTraffic(word, find) },
		Print:  UserTraffic.String,
	}
}

func parseUserTraffic(word string, find Lookup) (t UserTraffic, err error) {
	parts := strings.Split(word, ":")
	who := parts[len(parts)-1]
	parts = parts[:len(parts)-1]
	if len(parts) > 0 && (parts[0] == string(iptables.TCP) || parts[0] == string(iptables.UDP)) {
		t.Protocol = iptables.Protocol(parts[0])
		parts = parts[1:]
	}
	if len(parts) > 0 {
		if t.Ports, err = ParsePorts(strings.Join(parts, ":")); err != nil {
			return t, err
		}
	}
	// A name may have a dash too.
	first, last, isRange := strings.Cut(who, "-")
	if !isRange || strings.Trim(first+last, "0123456789") != "" {
		first, last = who, who
	}
	if t.First, err = ParseID(first, "user", find); err != nil {
		return t, err
	}
	if t.Last, err = ParseID(last, "user", find); err != nil {
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
	b.WriteString(formatID(t.First))
	if t.First != t.Last {
		b.WriteString("-" + formatID(t.Last))
	}
	return b.String()
}

// ParseID reads a number that is not 2^32-1, or looks up a name; who is "user" or "group".
// Its errors go on after the word.
func ParseID(word, who string, find Lookup) (uint32, error) {
	if word == "" || strings.Trim(word, "0123456789") != "" {
		id, err := find(word)
		if err != nil {
			return 0, fmt.Errorf("is not known as a %s: %w", who, err)
		}
		return id, nil
	}
	id, err := strconv.ParseUint(word, 10, 32)
	// The largest number is (uid_t)-1, which stands for "no user" (chown(2)).
	if err != nil || id == math.MaxUint32 {
		return 0, fmt.Errorf("is more than %d", uint32(math.MaxUint32-1))
	}
	return uint32(id), nil
}
