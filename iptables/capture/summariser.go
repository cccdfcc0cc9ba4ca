package capture

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Summariser collects the lines of one direction of a [Summary].
type Summariser struct {
	// Listed is how many items of a list are spelled out; 0 for all.
	Listed int
	Lines  []Line
}

// Captured adds a line about traffic that the proxy gets at a port.
func (s *Summariser) Captured(port uint16, what, why string) {
	s.Lines = append(s.Lines, Line{What: what, Port: port, Why: why})
}

// Exempt adds a line about traffic that the proxy does not get.
func (s *Summariser) Exempt(what, why string) { s.Captured(0, what, why) }

// ExemptList adds a line if a list has items. what is the format for them.
func (s *Summariser) ExemptList(what, name, items string) {
	if items != "" {
		s.Exempt(fmt.Sprintf(what, s.Words(items)), s.Option(name, items))
	}
}

// Option returns an option with its value, as a user gives it.
func (s *Summariser) Option(name, items string) string { return "--" + name + "=" + s.short(items) }

// Words separates the items of a list for a reader.
func (s *Summariser) Words(items string) string {
	return strings.ReplaceAll(s.short(items), ",", ", ")
}

// short returns a list, or the beginning of a long one.
func (s *Summariser) short(items string) string {
	if s.Listed == 0 {
		return items
	}
	return iptables.ShortList(strings.Split(items, ","), s.Listed)
}

// Join returns items as a list, as options take it.
func Join[T any](items []T, print func(T) string) string {
	return strings.Join(Texts(items, print), ",")
}

// JoinPorts returns ports as a list, as options take it.
func JoinPorts(ports []iptables.PortRange) string { return Join(ports, iptables.PortRange.String) }

// JoinPrefixes returns addresses and networks as a list, as options take it.
func JoinPrefixes(prefixes []netip.Prefix) string { return Join(prefixes, netip.Prefix.String) }

// JoinIDs returns users or groups as a list, as options take it.
func JoinIDs(ids []uint32) string {
	return Join(ids, func(id uint32) string { return strconv.FormatUint(uint64(id), 10) })
}

// Texts returns the text of each item.
func Texts[T any](items []T, print func(T) string) []string {
	all := make([]string, len(items))
	for i, x := range items {
		all[i] = print(x)
	}
	return all
}
