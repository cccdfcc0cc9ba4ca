package pod

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/verify"
)

// A record is options, a digest of rules or nothing that can be read.
func TestAsked(t *testing.T) {
	t.Parallel()
	asked := func(r installed.Record) Asked {
		var f Found
		f.Records = installed.Records{sidecar.Name: r}
		return f.Asked(sidecar.Policy{})
	}
	record := func(args ...string) installed.Record { return installed.NewRecord(args, iptables.Ruleset{}) }
	if got := asked(nil); got != (Asked{}) {
		t.Errorf("without a record: got %v", got)
	}
	args := []string{"--proxy-uid=7", "--excluded-ports=80"}
	if got := asked(record(args...)); got.Wanted == nil || got.Damaged || !slices.Equal(got.Wanted.Arguments(), args) {
		t.Errorf("options: got %v", got)
	}
	long := asked(record("--excluded-ports=" + strings.Repeat("80,", 2000) + "81"))
	if want := (Asked{Digest: installed.DigestOf(iptables.Ruleset{})}); long != want {
		t.Errorf("long options: got %v, want %v", long, want)
	}
	for name, r := range map[string]installed.Record{
		"empty":             {""},
		"a line less":       record(args...)[:2],
		"an unknown option": record("--banana"),
		"a wrong value":     record("--excluded-ports=banana"),
	} {
		if got := asked(r); got != (Asked{Damaged: true}) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// Applying does not move foreign rules, and nobody can apply what nobody knows.
func TestIsMendable(t *testing.T) {
	t.Parallel()
	missing := verify.Difference{Kind: verify.Missing}
	for name, test := range map[string]struct {
		v    Verification
		want bool
	}{
		"as wanted":       {Verification{}, false},
		"a missing rule":  {Verification{Rules: []verify.Difference{missing}}, true},
		"foreign rules":   {Verification{Foreign: []Interference{{}}}, false},
		"routing":         {Verification{Routing: []string{"ip rule add"}}, true},
		"rules elsewhere": {Verification{Elsewhere: []Misplaced{{}}}, true},
		"a fault":         {Verification{Faults: []string{"dormant"}}, true},
		"unknown options": {Verification{Faults: []string{"digest"}, Forgotten: true}, false},
	} {
		if got := test.v.IsMendable(); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
