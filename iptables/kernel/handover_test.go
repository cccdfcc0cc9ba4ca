package kernel

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
)

// inMangle returns natRules with one chain of mangle beside it.
func inMangle(target iptables.Target) iptables.Ruleset {
	p := natRules(iptables.Return)
	p.Table(iptables.Mangle).Append("ISTIO_TPROXY", iptables.PlannedRule{Rule: iptables.Rule{Target: target}})
	return form.IPTables(p)
}

func TestHandover(t *testing.T) {
	redirect, tproxy := form.IPTables(natRules(iptables.Redirect{})), inMangle(iptables.TProxy{Port: 15006})
	between, ok := handover(owned, redirect, tproxy)
	if !ok {
		t.Fatal("from REDIRECT to TPROXY nothing stands in between")
	}
	for _, f := range iptables.Families() {
		old := owned.OfTable(redirect.Table(f, iptables.Nat))
		if nat := between.Table(f, iptables.Nat); !nat.Equal(&old) {
			t.Errorf("%s nat in between is %v, want what it was: %v", f, nat, old)
		}
		if mangle := between.Table(f, iptables.Mangle); !mangle.Equal(tproxy.Table(f, iptables.Mangle)) {
			t.Errorf("%s mangle in between is %v, want what it will be", f, mangle)
		}
		if nat := tproxy.Table(f, iptables.Nat); nat.Equal(&old) {
			t.Error("what is wanted was changed")
		}
	}

	for name, c := range map[string]struct{ have, want iptables.Ruleset }{
		"from TPROXY to REDIRECT": {tproxy, redirect},
		"from TPROXY to TPROXY":   {tproxy, inMangle(iptables.TProxy{Port: 15007})},
		"from nothing":            {iptables.Ruleset{}, tproxy},
		"to nothing":              {redirect, iptables.Ruleset{}},
		"to other marks":          {redirect, inMangle(iptables.SetMark{Value: 1})},
	} {
		if _, ok := handover(owned, c.have, c.want); ok {
			t.Errorf("%s something stands in between", name)
		}
	}
}
