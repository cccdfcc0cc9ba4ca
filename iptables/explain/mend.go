package explain

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// mend returns the command that takes a foreign rule or policy away, for people to read
// before they run it, or "" if there is none: applying again empties our own table.
func mend(s Step, path *installed.Path, f iptables.Family) string {
	program, table, ok := owner(s.Table, path.Form, f)
	switch {
	case s.Chain == "" || path.Form == installed.Native && !strings.Contains(s.Table, " "):
		return ""
	case !ok && s.Position == 0:
		return fmt.Sprintf("nft chain %s %s '{ policy accept ; }'", s.Table, s.Chain)
	case !ok:
		return fmt.Sprintf("nft -a list chain %s %s, then nft delete rule %[1]s %[2]s handle N", s.Table, s.Chain)
	case s.Position == 0:
		return fmt.Sprintf("%s -t %s -P %s ACCEPT", program, table, s.Chain)
	}
	return fmt.Sprintf("%s -t %s -D %s %d", program, table, s.Chain, s.Position)
}

// owner returns the program that lists a table, and its name there. It is not ok for tables
// that only nft lists.
func owner(title string, form installed.Form, f iptables.Family) (program, table string, ok bool) {
	before, rest, two := strings.Cut(title, " ")
	switch {
	case !two && form == installed.Native:
		return "", "", false
	case !two && form == installed.Legacy:
		return f.Command() + "-legacy", title, true
	case !two:
		return f.Command(), title, true
	case before == "legacy":
		return f.Command() + "-legacy", rest, true
	case (before == "ip" || before == "ip6") && iptables.BuiltinChains(rest) != nil:
		return f.Command() + "-nft", rest, true
	}
	return "", "", false
}
