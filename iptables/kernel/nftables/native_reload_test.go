package nftables

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	plans "github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What nft lists, nft takes again, and makes of it the rules that it listed: so the
// table can be kept in a file, as nftables.service does.
func TestNativeReload(t *testing.T) {
	t.Run("recorded", func(t *testing.T) {
		t.Parallel()
		nstest.Enter(t)
		for _, c := range plans.Cases(t) {
			nativeReload(t, c.Name, c.Config(t).Plan(c.Host()).Rules)
		}
	})
	t.Run("made up", func(t *testing.T) {
		t.Parallel()
		nstest.Enter(t)
		for seed := range uint64(soak.Times(30, 100)) {
			nativeReload(t, fmt.Sprint(seed), plantest.Random(seed))
		}
	})
}

func nativeReload(t *testing.T, name string, plan iptables.Plan) {
	t.Helper()
	want := NewNative(nil, owned).Form(plan)
	nativeReplace(t, want)
	listing := nstest.Run(t, "nft", "list", "ruleset")
	nstest.Run(t, "nft", "flush ruleset")
	file := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(file, []byte(listing), 0o600); err != nil {
		t.Fatal(err)
	}
	nstest.Run(t, "nft", "-f", file)
	have := nativeLoad(t)
	if got := owned.Of(have); !got.Equal(&want) {
		t.Errorf("%s (-want +got):\n%s\n%s", name, cmp.Diff(text(want), text(got)), listing)
	}
	unchanged(t, func() { nativeReplace(t, want) })
}
