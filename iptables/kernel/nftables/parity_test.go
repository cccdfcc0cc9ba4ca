package nftables

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// What we write for a recorded ruleset prints as what iptables-nft-restore
// writes for it, and both read back as it.
func TestRecorded(t *testing.T) {
	for _, c := range recordedCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			sameInKernel(t, c.ruleset(t))
		})
	}
}

// sameInKernel writes a ruleset with the programs into one namespace and over
// netlink into another, and compares all that can be read back.
func sameInKernel(t *testing.T, want iptables.Ruleset) {
	t.Helper()
	want.Sort()
	var theirText, ourText string
	var theirRules, ourRules iptables.Ruleset
	var theirBytes, ourBytes []string
	inNamespace(t, func(t testing.TB) {
		for _, family := range iptables.Families() {
			restore(t, family, want.Save(family))
		}
		theirText, theirRules, theirBytes = saved(t), load(t), extensionBytes(t)
	})
	inNamespace(t, func(t testing.TB) {
		write(t, New(nstest.Here(t), owned), want)
		ourText, ourRules, ourBytes = saved(t), load(t), extensionBytes(t)
	})
	for _, compared := range []struct {
		what        string
		theirs, our any
	}{
		{"iptables-nft-save", theirText, ourText},
		{"what Load reads of iptables' rules, against the wanted ones", text(want), text(theirRules)},
		{"what Load reads of our rules, against the wanted ones", text(want), text(ourRules)},
		{"xt structs", theirBytes, ourBytes},
	} {
		if d := cmp.Diff(compared.theirs, compared.our); d != "" {
			t.Errorf("%s (-theirs +ours):\n%s", compared.what, d)
		}
	}
	if !want.Equal(&ourRules) || !want.Equal(&theirRules) {
		t.Error("the text is equal, the rulesets are not")
	}
}

// write puts a ruleset into an empty namespace, including rules that Replace
// refuses: those that the reference leaves in built-in chains.
func write(t testing.TB, b *Backend, want iptables.Ruleset) {
	t.Helper()
	if err := b.changeOnce(t.Context(), nil, b.rules(want, false)); err != nil {
		t.Fatal(err)
	}
}

// extensionBytes reads all xt matches and targets with their structs as the kernel
// holds them, but those of tcp, udp and mark, which iptables writes natively where
// we do not.
func extensionBytes(t testing.TB) []string {
	t.Helper()
	var found []string
	err := connected(t.Context(), nstest.Here(t), func(c *netlink.Conn) error {
		return c.Dump(t.Context(), listing(unix.NFT_MSG_GETRULE, "list the rules"), func(m netlink.Message) {
			for kind, value := range m.Attributes() {
				if kind != unix.NFTA_RULE_EXPRESSIONS {
					continue
				}
				for _, e := range expression.Append(nil, value) {
					if isExtension(e, "tcp", "udp", "mark") {
						found = append(found, fmt.Sprintf("%s %q", e.Name, e.Data))
					}
				}
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// isExtension reports whether an expression is of xtables, with none of those names.
func isExtension(e expression.Expression, but ...string) bool {
	for kind, value := range netlink.Attributes(e.Data) {
		if kind == unix.NFTA_MATCH_NAME {
			return (e.Name == "match" || e.Name == "target") && !slices.Contains(but, netlink.ReadString(value))
		}
	}
	return false
}

// Each rule that the model can hold is found by iptables -C.
func TestCheck(t *testing.T) {
	for _, family := range iptables.Families() {
		t.Run(family.String(), func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(t testing.TB) {
				var want iptables.Ruleset
				for _, name := range []string{iptables.Nat, iptables.Mangle, iptables.Raw} {
					want.Tables = append(want.Tables, everyForm(family, name))
				}
				write(t, New(nstest.Here(t), owned), want)
				for _, table := range want.Tables {
					for _, c := range table.Chains {
						for _, r := range c.Rules {
							check(t, family, table.Name, c.Name, r)
						}
					}
				}
			})
		})
	}
}
