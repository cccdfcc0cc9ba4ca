package iptables

import "strings"

// Printable returns a name that somebody else chose without what a terminal or a reader could
// take for something else.
func Printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, name)
}
