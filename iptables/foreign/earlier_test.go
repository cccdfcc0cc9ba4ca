package foreign_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/verify"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

const wanted = `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -m tcp --dport 1 -j RETURN
COMMIT
`

func parse(t *testing.T, text string) *iptables.Ruleset {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &iptables.Ruleset{Tables: tables}
}

func shadows(path *installed.Path) []foreign.Shadow {
	var all []foreign.Shadow
	for i := range path.Rules.Tables {
		all = append(all, foreign.Shadows(path, &path.Rules.Tables[i])...)
	}
	return all
}

// A jump of ours that a table before it keeps every packet from is told, if that is
// certain.
func TestShadowedByEarlierTables(t *testing.T) {
	t.Parallel()
	const redirect = "-A PREROUTING -p tcp -j REDIRECT --to-ports 9\n"
	for name, test := range map[string]struct {
		table, rules, want string
	}{
		"nothing":            {"nat", "", ""},
		"redirects":          {"nat", redirect, "rule 1 of ip nat PREROUTING: -p tcp -j REDIRECT --to-ports 9"},
		"translates":         {"nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.1\n", "rule 1 of ip nat PREROUTING: -j DNAT --to-destination 10.0.0.1"},
		"another protocol":   {"nat", "-A PREROUTING -p udp -j REDIRECT --to-ports 9\n", ""},
		"another hook":       {"nat", "-A OUTPUT -p tcp -j REDIRECT --to-ports 9\n", ""},
		"some":               {"nat", "-A PREROUTING -p tcp -m tcp --dport 9 -j REDIRECT --to-ports 9\n", ""},
		"after others":       {"nat", "-A PREROUTING -j LOG\n-A PREROUTING -p tcp\n-A PREROUTING -p tcp -m tcp --dport 9 -j DROP\n" + redirect, "rule 4 of ip nat PREROUTING: -p tcp -j REDIRECT --to-ports 9"},
		"accepts":            {"nat", "-A PREROUTING -j ACCEPT\n" + redirect, ""},
		"accepts some":       {"nat", "-A PREROUTING -p tcp -m tcp --dport 9 -j ACCEPT\n" + redirect, ""},
		"nobody knows":       {"nat", "-A PREROUTING -j BALANCE\n" + redirect, ""},
		"in a chain":         {"nat", ":OTHER -\n-A PREROUTING -j OTHER\n-A OTHER -p tcp -j REDIRECT --to-ports 9\n", "rule 1 of ip nat PREROUTING: -j OTHER"},
		"comes back":         {"nat", ":OTHER -\n-A PREROUTING -j OTHER\n-A OTHER -p udp -j DROP\n" + redirect, "rule 2 of ip nat PREROUTING: -p tcp -j REDIRECT --to-ports 9"},
		"accepts in a chain": {"nat", ":OTHER -\n-A PREROUTING -j OTHER\n-A OTHER -p tcp -m tcp --dport 9 -j ACCEPT\n" + redirect, ""},
		"goes elsewhere":     {"nat", ":OTHER -\n-A PREROUTING -g OTHER\n" + redirect, ""},
		"drops earlier":      {"mangle", "-A PREROUTING -j DROP\n", "rule 1 of ip mangle PREROUTING: -j DROP"},
		"rejects":            {"raw", "-A PREROUTING -j REJECT\n", "rule 1 of ip raw PREROUTING: -j REJECT"},
		"policy":             {"mangle", ":PREROUTING DROP\n-A PREROUTING -p udp -j DROP\n", "policy DROP of ip mangle PREROUTING"},
		"policy of some":     {"mangle", ":PREROUTING DROP\n-A PREROUTING -p tcp -m tcp --dport 9 -j ACCEPT\n", ""},
		"later":              {"filter", "-A PREROUTING -j DROP\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := ":PREROUTING ACCEPT\n:OUTPUT ACCEPT\n"
			if strings.Contains(test.rules, ":PREROUTING") {
				head = ":OUTPUT ACCEPT\n"
			}
			have := installed.Alone(*parse(t, wanted), owned)
			have.Before = *parse(t, "*"+test.table+"\n"+head+test.rules+"COMMIT\n")
			got := ""
			for _, s := range shadows(have) {
				got += s.By
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if (len(verify.Rules(parse(t, wanted), have)) > 0) != (test.want != "") {
				t.Error("verify.Rules differs")
			}
		})
	}
	have := installed.Alone(*parse(t, "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -j DROP\nCOMMIT\n"+wanted), owned)
	if all := shadows(have); len(all) != 1 || all[0].By != "rule 1 of mangle PREROUTING: -j DROP" {
		t.Errorf("got %v", all)
	}
}
