package foreign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Ignored is a table whose built-in chains handle packets too, but that meshtables does
// not look at. It never comes before ours at the same hook.
type Ignored struct {
	Family iptables.Family
	Table  string
	Rules  int
	// Dropping are the chains whose policy is DROP.
	Dropping []string
}

// IgnoredOn returns the ignored tables on a path. Other base chains, which have a policy
// too, are [installed.Chain].
func IgnoredOn(path *installed.Path) []Ignored {
	var all []Ignored
	for _, t := range slices.Concat(path.Rules.Tables, path.Before.Tables) {
		i := Ignored{Family: t.Family, Table: t.Name}
		for _, chain := range t.Chains {
			if !slices.Contains(iptables.BuiltinChains(t.Name), chain.Name) || IsMet(t.Name, chain.Name) {
				continue
			}
			i.Rules += len(chain.Rules)
			if chain.Policy == iptables.Policy(iptables.Drop) {
				i.Dropping = append(i.Dropping, chain.Name)
			}
		}
		if i.Rules > 0 || i.Dropping != nil {
			all = append(all, i)
		}
	}
	return all
}

// String returns text such as "IPv4 table filter has rules that are not looked at (2)".
func (i Ignored) String() string {
	var what []string
	if i.Rules > 0 {
		what = append(what, fmt.Sprintf("rules that are not looked at (%d)", i.Rules))
	}
	if i.Dropping != nil {
		what = append(what, fmt.Sprintf("policies DROP that are not looked at (%s)", strings.Join(i.Dropping, ", ")))
	}
	return fmt.Sprintf("%s table %s has %s", i.Family, i.Table, strings.Join(what, " and "))
}
