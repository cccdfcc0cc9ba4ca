package explain_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/tests/recorded"
)

func TestOrdinaryID(t *testing.T) {
	for args, want := range map[string]uint32{
		"": 1000, "-u 1000": 1001, "-u 1001,1000 -g 1002": 1003, "--excluded-uids 1000-1999": 2000, "-u 999": 1000, "--excluded-uids 1000,1002": 1001,
	} {
		for name, of := range map[string]func(iptables.Plan) iptables.Ruleset{"iptables": form.IPTables, "native": form.Native} {
			rules := of(recorded.Parse(t, nil, strings.Fields(args)...).Plan(host.Host{}).Rules)
			if got := explain.OrdinaryID(&installed.Path{Rules: rules}); got != want {
				t.Errorf("%q, %s: got %d, want %d", args, name, got, want)
			}
		}
	}
}
