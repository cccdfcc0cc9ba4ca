package show

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
)

// counters counts the packets of one family or, for a shared rule, of both.
type counters struct {
	iptables.Counters
	shared bool
}

// columns returns the headings of the counters: one for each family, or one if a line has
// counters of both. It makes the lines have as many counters.
func (f *flow) columns(lines []line) []string {
	if len(f.families) > 1 && slices.ContainsFunc(lines, line.countsBoth) {
		for i := range lines {
			lines[i].sum()
		}
		return []string{"packets"}
	}
	var columns []string
	for _, family := range f.families {
		columns = append(columns, family.String()+" packets")
	}
	return columns
}

// legend explains the "+" of counters, if any.
func (f *flow) legend(lines []line) string {
	if len(f.families) > 1 || !slices.ContainsFunc(lines, line.countsBoth) {
		return ""
	}
	other := iptables.IPv4
	if f.families[0] == other {
		other = iptables.IPv6
	}
	return fmt.Sprintf(" (+ counts %s too)", other)
}

func (l line) countsBoth() bool { return len(l.counters) > 0 && l.counters[0].shared }

// sum adds up the counters of both families.
func (l *line) sum() {
	if len(l.counters) == 0 {
		return
	}
	total := l.counters[0]
	if !total.shared {
		for _, c := range l.counters[1:] {
			total.Packets += c.Packets
			total.Bytes += c.Bytes
		}
	}
	total.shared = false
	l.counters = []counters{total}
}

// column returns the counters of a line in one column.
func (l *line) column(p painter, i int) string {
	if l.counters == nil {
		return fmt.Sprintf("%12s %6s  ", "", "")
	}
	n := l.counters[i]
	end := "  "
	if n.shared {
		end = "+ "
	}
	text := fmt.Sprintf("%12s %6s%s", quantity(n.Packets), quantity(n.Bytes), end)
	if n.Packets == 0 && n.Bytes == 0 {
		return p.faint(text)
	}
	return text
}

// quantity returns a number in at most 6 characters, as iptables --list does: thousands
// beyond five digits, and so on.
func quantity(n uint64) string {
	const digits = 100_000
	unit := ""
	for _, next := range []string{"K", "M", "G", "T", "P"} {
		if n < digits {
			break
		}
		n, unit = n/1000+n%1000/500, next
	}
	return strconv.FormatUint(n, 10) + unit
}
