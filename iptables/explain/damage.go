package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/verify"
)

// Intended are our rules as they should be.
type Intended struct {
	// Rules are in the form of the installed ones, with origins.
	Rules iptables.Ruleset
	// Guessed says that their options were read from the installed rules. Where these are
	// damaged, nobody knows what was asked for.
	Guessed bool
	// Differences are those of the installed rules from them.
	Differences []verify.Difference
}

// NewIntended compares the rules of a path with what they should be.
func NewIntended(path *installed.Path, rules iptables.Ruleset, guessed bool) *Intended {
	return &Intended{rules, guessed, verify.Rules(&rules, path)}
}

// IsDamaged reports whether the installed rules differ.
func (i *Intended) IsDamaged() bool { return i != nil && len(i.Differences) > 0 }

// Disown takes the origins from installed rules that should not be there: no option makes
// them, whatever they look like.
func (i *Intended) Disown(rs *iptables.Ruleset) {
	for _, f := range iptables.Families() {
		for _, d := range i.Differences {
			if d.Kind == verify.Unexpected && d.Position > 0 && d.Family == f.String() {
				rs.Table(f, d.Table).Chain(d.Chain).Rules[d.Position-1].Origin = iptables.Origin{}
			}
		}
	}
}

// damage is the reason if our rules, as they should be, handle a packet otherwise.
func (i *Intended) damage(p iptables.Packet, found, intended Result) Reason {
	text := i.about(p, found, intended)
	if i.Guessed {
		return Final("no options give these rules: "+text, "apply again")
	}
	return Final("the rules are damaged: "+text, "apply again")
}

// maxDifferences bounds how many differences a reason names.
const maxDifferences = 2

// about names the differences that the packet meets or, if it meets none, the first ones.
func (i *Intended) about(p iptables.Packet, found, intended Result) string {
	all := slices.Clone(i.Differences)
	family := func(d verify.Difference) bool { return d.Family != p.Family().String() }
	if own := slices.DeleteFunc(slices.Clone(all), family); len(own) > 0 {
		all = own
	}
	met := func(d verify.Difference) bool {
		path := intended.Path
		if d.Kind == verify.Unexpected {
			path = found.Path
		}
		return slices.ContainsFunc(path, func(s Step) bool {
			return s.Table == d.Table && s.Chain == d.Chain && (d.Position == 0 || s.Rule.String() == d.Rule)
		})
	}
	if relevant := slices.DeleteFunc(slices.Clone(all), func(d verify.Difference) bool { return !met(d) }); len(relevant) > 0 {
		all = relevant
	}
	return summary(all)
}

// Summary returns the first differences in a few words, or "" if there are none.
func (i *Intended) Summary() string { return summary(i.Differences) }

func summary(all []verify.Difference) string {
	all = verify.Pair(all)
	var words []string
	for _, d := range all[:min(len(all), maxDifferences)] {
		words = append(words, d.Words())
	}
	text := strings.Join(words, "; ")
	if more := len(all) - maxDifferences; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
