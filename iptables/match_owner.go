package iptables

import (
	"strconv"
	"strings"
)

// Owner is the match "owner": the user and group of the socket that sent the packet. A
// packet without a socket, such as a reset from the kernel, matches negations only
// (net/netfilter/xt_owner.c).
type Owner struct {
	UID, GID IDMatch
	// Socket matches any packet that a socket of this machine sends, whoever owns it.
	Socket bool
}

const socketExists = "--socket-exists"

// IDMatch is an inclusive range of user or group ids. Without Set it matches
// every id.
type IDMatch struct {
	First, Last uint32
	Not         bool
	Set         bool
}

// ID returns the match for one id.
func ID(id uint32) IDMatch { return IDMatch{First: id, Last: id, Set: true} }

// NotID returns the match for every other id.
func NotID(id uint32) IDMatch { return IDMatch{First: id, Last: id, Not: true, Set: true} }

func (m Owner) appendSave(words []string) []string {
	words = append(words, "-m", "owner")
	if m.Socket {
		words = append(words, socketExists)
	}
	words = m.UID.appendSave(words, "--uid-owner")
	return m.GID.appendSave(words, "--gid-owner")
}

func (m IDMatch) appendSave(words []string, option string) []string {
	if !m.Set {
		return words
	}
	ids := strconv.FormatUint(uint64(m.First), 10)
	if m.First != m.Last {
		ids += "-" + strconv.FormatUint(uint64(m.Last), 10)
	}
	return append(appendNot(words, m.Not), option, ids)
}

// MetBy compares the ids of a packet's owner.
func (m Owner) MetBy(p *Packet) (bool, error) {
	if p.Owner == nil {
		return !m.Socket && (!m.UID.Set || m.UID.Not) && (!m.GID.Set || m.GID.Not), nil
	}
	return m.UID.metBy(p.Owner.UID) && m.GID.metBy(p.Owner.GID), nil
}

func (m IDMatch) metBy(id uint32) bool { return !m.Set || (m.First <= id && id <= m.Last) != m.Not }

// Values implements [FieldMatch].
func (m Owner) Values(f SetField) (values []Interval, not, ok bool) {
	switch f {
	case OwnerUID:
		return m.UID.values()
	case OwnerGID:
		return m.GID.values()
	}
	return nil, false, false
}

func (m IDMatch) values() (values []Interval, not, ok bool) {
	if !m.Set {
		return nil, false, false
	}
	return []Interval{IDInterval(m.First, m.Last)}, m.Not, true
}

func parseOwner(args []arg) Match {
	var m Owner
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
