package iptables

import (
	"fmt"
	"strconv"
	"strings"
)

// Origin is the option, and the value of it, that makes a rule, such as
// {"--excluded-ports", "15020"}. Value is empty if the option makes the rule whatever its
// value. A rule that was not planned has the zero value.
type Origin struct {
	Option, Value string
}

// BuiltIn is the Option of rules that no option makes. Their Value says what they are
// for.
const BuiltIn = "built-in"

// String returns the option as on the command line, such as "--excluded-ports=15020", or
// "built-in (loopback)".
func (o Origin) String() string {
	switch {
	case o.Value == "":
		return o.Option
	case o.Option == BuiltIn:
		return fmt.Sprintf("%s (%s)", o.Option, o.Value)
	default:
		return o.Option + "=" + o.Value
	}
}

// ParseOrigin undoes [Origin.String]. It is not ok for any other text.
func ParseOrigin(text string) (o Origin, ok bool) {
	if what, ok := strings.CutPrefix(text, BuiltIn+" ("); ok {
		o = Origin{BuiltIn, strings.TrimSuffix(what, ")")}
	} else if strings.HasPrefix(text, "--") {
		o.Option, o.Value, _ = strings.Cut(text, "=")
	}
	if o == (Origin{}) || o.String() != text {
		return Origin{}, false
	}
	return o, true
}

// Comment returns what String does in at most limit bytes. A list that does not fit is
// shortened; see [ShortList].
func (o Origin) Comment(limit int) string {
	if s := o.String(); len(s) <= limit {
		return s
	}
	items, total := splitList(o.Value)
	for n := len(items) - 1; n > 0; n-- {
		if s := (Origin{o.Option, shortList(items[:n], total)}).String(); len(s) <= limit {
			return s
		}
	}
	return o.Option[:min(len(o.Option), limit)]
}

// Items returns the items of a list that the value lists.
func (o Origin) Items() []string {
	items, _ := splitList(o.Value)
	return items
}

// MaxListed is how many items of a list are shown to people.
const MaxListed = 8

// ShortList joins the first n items of a list, such as an option's value or a [Set]:
// "80,443", or "80,443,... (30 values)" if there are more.
func ShortList(items []string, n int) string {
	if len(items) <= n {
		return strings.Join(items, ",")
	}
	return shortList(items[:n], len(items))
}

// IsShortened reports whether [ShortList] cut the value off.
func (o Origin) IsShortened() bool { return strings.Contains(o.Value, listGoesOn) }

const (
	listGoesOn = ",... ("
	listEnd    = " values)"
)

func shortList(first []string, total int) string {
	return strings.Join(first, ",") + listGoesOn + strconv.Itoa(total) + listEnd
}

// splitList returns the items that a list shows, and how many it has.
func splitList(value string) (items []string, total int) {
	first, rest, short := strings.Cut(value, listGoesOn)
	items = strings.Split(first, ",")
	total, err := strconv.Atoi(strings.TrimSuffix(rest, listEnd))
	if !short || err != nil {
		total = len(items)
	}
	return items, total
}
