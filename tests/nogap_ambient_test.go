package tests

import (
	"slices"
	"testing"

	"github.com/meshtables/meshtables/tests/soak"
)

// capturingAmbient are options of ambient mode that capture what those of capturing do.
func capturingAmbient() [][]string {
	all := [][]string{
		{},
		{"--redirect-dns"},
		{"-d", "1000,1001", "-o", "1000,1001"},
		{"-b", "8080,9090", "-i", "203.0.113.0/24,2001:db8:113::/48"},
		{"--redirect-dns", "-x", "198.51.100.0/24,2001:db8:51::/48"},
		{"--connection-mark=0x222/0xfff", "--routing-table=101"},
	}
	for i := range all {
		all[i] = append(all[i], "--dataplane-mode=ambient")
	}
	return all
}

// betweenDataplanes is a pod that changes to any of the options, of whichever dataplanes.
func betweenDataplanes(t *testing.T, backend string, options ...[][]string) pod {
	t.Helper()
	p := newPod(t, backend)
	p.options = slices.Concat(options...)
	p.env = []string{"MESHTABLES_REPLACE_DATAPLANE=true"}
	return p
}

// While options of ambient mode change, and while it takes the place of sidecars and they
// take its, every new connection is captured, none fails, and those that are open go on.
func TestNoGapInAmbient(t *testing.T) {
	t.Parallel()
	overNetlink, programs := soak.Times(40, 300), soak.Times(10, 60)
	forEachBackend(t, func(t *testing.T, backend string) {
		changeOptions(t, betweenDataplanes(t, backend, capturingAmbient(), capturing()[:3]), overNetlink, programs)
	})
}

// Nor is there a gap however often the program is killed meanwhile.
func TestNoGapInAmbientWhenKilled(t *testing.T) {
	t.Parallel()
	noGapWhenKilled(t, soak.Times(40, 500), capturingAmbient(), capturing()[:3])
}

// noGapWhenKilled kills the program so many times with each backend over netlink.
func noGapWhenKilled(t *testing.T, times int, options ...[][]string) {
	t.Helper()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := betweenDataplanes(t, backend, options...)
			killed, changed := 0, 0
			tr := connectAndKill(t, p, times, &killed, &changed)
			t.Logf("killed %d times, %d of them after a change of the rules", killed, changed)
			wantNoneAstray(t, tr)
		})
	}
}
