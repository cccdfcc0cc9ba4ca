package pod

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables/verify"
)

// Drift returns in a few words how rules differ; "" if they do not.
func (v *Verification) Drift() string {
	type place struct{ family, table, chain, rule string }
	at := func(d *verify.Difference) place { return place{d.Family, d.Table, d.Chain, d.Rule} }
	unexpected := make(map[place]int)
	missing, moved, extra, chains := 0, 0, 0, 0
	for i := range v.Rules {
		d := &v.Rules[i]
		switch {
		case d.Position == 0:
			chains++
		case d.Kind == verify.Unexpected:
			unexpected[at(d)]++
			extra++
		}
	}
	for i := range v.Rules {
		d := &v.Rules[i]
		switch {
		case d.Position == 0 || d.Kind != verify.Missing:
		case unexpected[at(d)] > 0:
			unexpected[at(d)]--
			moved++
			extra--
		default:
			missing++
		}
	}
	words := append([]string{}, v.Faults...)
	count := func(n int, one, severally string) {
		switch {
		case n == 1:
			words = append(words, one)
		case n > 1:
			words = append(words, fmt.Sprintf(severally, n))
		}
	}
	count(missing, "1 rule is missing", "%d rules are missing")
	count(extra, "1 rule is not wanted", "%d rules are not wanted")
	count(moved, "1 rule is at the wrong place", "%d rules are at the wrong place")
	if missing+extra+moved == 0 {
		count(chains, "1 chain is missing or not wanted", "%d chains are missing or not wanted")
	}
	return strings.Join(words, ", ")
}

// Words returns in a few words each how everything differs that applying changes.
func (v *Verification) Words() []string {
	var all []string
	if text := v.Drift(); text != "" {
		all = append(all, text)
	}
	for _, m := range v.Elsewhere {
		all = append(all, "rules are in "+m.Backend)
	}
	for _, d := range v.Sets {
		all = append(all, d.Words())
	}
	if text := v.RoutingWords(); text != "" {
		all = append(all, text)
	}
	for _, command := range v.Sysctls {
		all = append(all, "needs "+command)
	}
	return all
}

// RoutingWords returns in a few words how the routing differs, or "".
func (v *Verification) RoutingWords() string {
	switch n := len(v.Routing); n {
	case 0:
		return ""
	case 1:
		return "routing needs " + v.Routing[0]
	default:
		return fmt.Sprintf("routing needs %s and %d more", v.Routing[0], n-1)
	}
}
