package nftables

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// In an empty namespace no table is left behind, and none that was there before
// is taken away.
func TestRemovalLeavesNoTrace(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T)
	}{
		{"empty namespace", func(*testing.T) {}},
		{"empty tables", func(t *testing.T) {
			nstest.Run(t, "nft", "add table ip nat; add table ip6 nat; add chain ip nat OUTPUT { type nat hook output priority -100; }")
		}},
		{"a set", func(t *testing.T) {
			nstest.Run(t, "nft", "add table ip mangle; add set ip mangle s { type ipv4_addr; }")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			tt.setup(t)
			before := nstest.Run(t, "nft", "list", "ruleset")
			replace(t, sidecarRules(t))
			if nstest.Run(t, "nft", "list", "ruleset") == before {
				t.Error("nothing was written")
			}
			replace(t, iptables.Ruleset{})
			if d := cmp.Diff(before, nstest.Run(t, "nft", "list", "ruleset")); d != "" {
				t.Errorf("(-before +after):\n%s", d)
			}
		})
	}
}

// A table that we made stays if somebody else began to use it.
func TestRemovalKeepsWhatOthersUse(t *testing.T) {
	for name, command := range map[string]string{
		"a rule":   "add rule ip nat OUTPUT counter",
		"a chain":  "add chain ip nat theirs",
		"a set":    "add set ip nat s { type ipv4_addr; }",
		"a policy": "chain ip nat OUTPUT { policy drop; }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			replace(t, sidecarRules(t))
			nstest.Run(t, "nft", command)
			replace(t, iptables.Ruleset{})
			rs := load(t)
			if rs.Table(iptables.IPv4, iptables.Nat) == nil {
				t.Error("the table is gone")
			}
			if own := owned.Of(rs); len(own.Tables) > 0 {
				t.Errorf("ours is still there:\n%s", text(own))
			}
			if rs.Table(iptables.IPv6, iptables.Nat) != nil {
				t.Error("the other family's table is still there")
			}
		})
	}
}
