package explain

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// mend returns the command that takes a foreign rule or policy away, for people to read
// before they run it, or "" if there is none: applying again empties our own table.
func mend(s Step, path *installed.Path, f iptables.Family) string {
	program := program(s.Form, path.Form, f)
	switch {
	case s.Chain == "" || s.Form == installed.Native:
		return ""
	case program == "" && s.Position == 0:
		return fmt.Sprintf("nft chain %s %s '{ policy accept ; }'", s.Name, s.Chain)
	case program == "":
		return fmt.Sprintf("nft -a list chain %s %s, then nft delete rule %[1]s %[2]s handle N", s.Name, s.Chain)
	case s.Position == 0:
		return fmt.Sprintf("%s -t %s -P %s ACCEPT", program, s.Name, s.Chain)
	}
	return fmt.Sprintf("%s -t %s -D %s %d", program, s.Name, s.Chain, s.Position)
}

// program returns the program of iptables that lists the tables of a form, where ours are in
// the form in question. It is empty for tables that only nft lists.
func program(f, inQuestion installed.Form, family iptables.Family) string {
	switch {
	case f == installed.Legacy:
		return family.Command() + "-legacy"
	case f == installed.NFT && inQuestion == installed.NFT:
		return family.Command()
	case f == installed.NFT:
		return family.Command() + "-nft"
	}
	return ""
}
