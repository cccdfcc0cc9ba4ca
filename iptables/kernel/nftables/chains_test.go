package nftables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Chains of others are told if they do something, and which come before ours depends
// on the form: iptables' is attached right before the native one.
func TestChains(t *testing.T) {
	nstest.Enter(t)
	restore(t, iptables.IPv4, strings.ReplaceAll(foreignRules, "PING", ping(iptables.IPv4)))
	nstest.Run(t, "nft", `
		table inet a {
			chain early { type filter hook prerouting priority -300; accept; }
			chain same { type nat hook output priority -100; counter; counter; }
			chain next { type nat hook output priority -99; counter; }
			chain late { type nat hook output priority -98; counter; }
			chain drops { type filter hook input priority 0; policy drop; }
			chain idle { type filter hook output priority -200; }
			chain plain { counter; }
		}
		table ip6 b { chain o { type filter hook output priority -400; counter; }; }
		table ip dormant { flags dormant; chain o { type filter hook output priority -400; counter; }; }
		table ip nat { chain own { type nat hook output priority -150; counter; }; }
	`)
	plan := planOf(t, "sidecar-default")
	for _, b := range []*Backend{New(nstest.Here(t), owned), NewNative(nstest.Here(t), owned)} {
		ours := b.Form(plan)
		take(t, b, ours)
		have, err := Read(t.Context(), nstest.Here(t), owned)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range have.Chains {
			line := c.String()
			if foreign.ComesFirst(c, installed.Form(b.Name()), &ours) {
				line += " first"
			}
			got = append(got, line)
		}
		want := []string{
			"chain early of table inet a (PREROUTING, priority -300, rules: 1, policy ACCEPT) first",
			"chain same of table inet a (OUTPUT, priority -100, rules: 2, policy ACCEPT) first",
			"chain next of table inet a (OUTPUT, priority -99, rules: 1, policy ACCEPT)",
			"chain late of table inet a (OUTPUT, priority -98, rules: 1, policy ACCEPT)",
			"chain drops of table inet a (INPUT, priority 0, rules: 0, policy DROP)",
			"chain o of table ip6 b (OUTPUT, priority -400, rules: 1, policy ACCEPT)",
			"chain own of table ip nat (OUTPUT, priority -150, rules: 1, policy ACCEPT) first",
		}
		if b.native {
			want[2] += " first"
		}
		less := func(a, b string) bool { return a < b }
		if d := cmp.Diff(want, got, cmpopts.SortSlices(less)); d != "" {
			t.Errorf("%s (-want +got):\n%s", b.Name(), d)
		}
		path := have.Path(installed.Form(b.Name()))
		switch nat := path.Before.Table(iptables.IPv4, iptables.Nat); {
		case !b.native && nat != nil:
			t.Errorf("before iptables' tables are %v", path.Before.Tables)
		case b.native && (nat == nil || len(nat.Chain("OUTPUT").Rules) != 1):
			t.Errorf("before the native table are %v", path.Before.Tables)
		}
	}
}
