package verify

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// Words returns the difference in a few words, such as "rule 1 of nat OUTPUT is missing: -p
// tcp -j ISTIO_OUTPUT".
func (d Difference) Words() string {
	is := map[Kind]string{Missing: "is missing", Unexpected: "is too much", changed: "is changed"}[d.Kind]
	if d.Position == 0 {
		return fmt.Sprintf("chain %s of table %s %s", d.Chain, d.Table, is)
	}
	text := fmt.Sprintf("rule %d of %s %s %s: %s", d.Position, d.Table, d.Chain, is, iptables.Brief(d.Rule))
	if d.Kind == changed {
		text += " instead of " + iptables.Brief(d.instead)
	}
	return text
}

// changed is the kind of a pair: a rule that is in the place of the wanted one.
const changed Kind = "changed"

// Pair returns the differences with each wanted rule joined to the installed one in its
// place. Its Rule is the installed one.
func Pair(all []Difference) []Difference {
	var joined []Difference
	for _, d := range all {
		n := len(joined)
		if n > 0 && d.Kind == Missing && joined[n-1].Kind == Unexpected && d.Position > 0 && d.isIn(joined[n-1]) && d.Position == joined[n-1].Position {
			joined[n-1].Kind, joined[n-1].instead = changed, d.Rule
			continue
		}
		joined = append(joined, d)
	}
	return joined
}

// isIn reports whether two differences are in the same chain.
func (d Difference) isIn(other Difference) bool {
	return d.Family == other.Family && d.Table == other.Table && d.Chain == other.Chain
}
