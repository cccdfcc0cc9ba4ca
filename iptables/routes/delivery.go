package routes

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
)

// lookup is a policy rule, whoever made it.
type lookup struct {
	family iptables.Family
	rtnetlink.Rule
}

// ends reports whether the rule itself ends the way of packets for their mark, or of all.
func (l lookup) ends() bool { return l.Ends() && (l.Mask != 0 || !l.More) }

// String returns the rule in the words of ip(8), such as "priority 2 fwmark 0x539 lookup
// 200".
func (l lookup) String() string {
	text := fmt.Sprintf("priority %d", l.Priority)
	if l.Mask != 0 {
		text += fmt.Sprintf(" fwmark %#x", l.Mark)
		if l.Mask != iptables.FullMask {
			text += fmt.Sprintf("/%#x", l.Mask)
		}
	}
	if l.More {
		text += " …"
	}
	if l.ends() {
		return text
	}
	return fmt.Sprintf("%s lookup %d", text, l.Table)
}

// Undelivered returns why packets that TPROXY has marked do not get to a local socket, in a
// sentence without full stop, or "" if they do. Packets to an address of this machine get
// there anyway; those to others, and the answers to a proxy that keeps the address of the
// client, do not.
func (s *State) Undelivered(f iptables.Family, mark uint32) string {
	all := slices.Clone(s.lookups)
	slices.SortStableFunc(all, func(a, b lookup) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, l := range all {
		if l.family != f || l.Mask&mark != l.Mark || l.Table == tableLocal {
			continue
		}
		switch to := s.defaultOf(f, l.Table); {
		case to == toHere && !l.More:
			return ""
		case to == toOthers && l.Mask == 0 && l.Table == unix.RT_TABLE_MAIN:
			return fmt.Sprintf("no %s routing rule delivers packets with the mark %#x to this machine", f, mark)
		case to == toOthers || l.ends():
			return fmt.Sprintf("the %s routing rule %q takes packets with the mark %#x elsewhere", f, l, mark)
		}
	}
	return fmt.Sprintf("no %s routing rule delivers packets with the mark %#x to this machine", f, mark)
}

// destination is where the default route of a table leads.
type destination int

const (
	nowhere destination = iota
	toHere
	toOthers
)

func (s *State) defaultOf(f iptables.Family, table uint32) destination {
	to := nowhere
	for _, r := range s.defaults {
		if r.Table == table && r.Family == netlinkFamily(f) {
			to = toOthers
		}
	}
	for _, o := range s.objects {
		if o.Kind == Route && !o.Prefix.IsValid() && o.Family == f && o.Table == table && to == nowhere {
			to = toHere
		}
	}
	return to
}
