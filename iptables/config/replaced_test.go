package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A value that a later one replaces is told, by the names that were used.
func TestReplaced(t *testing.T) {
	t.Parallel()
	const later = " comes later, and the last counts"
	for line, want := range map[string][]string{
		"-p 1 --mode TPROXY":                    nil,
		"-p 1 --envoy-port 1 --outbound-port=1": nil,
		"--dry-run --dry-run":                   nil,
		"-p 1 --envoy-port 2":                   {`--outbound-port "1" has no effect: --envoy-port "2"` + later},
		"--envoy-port 1 -p 2 -p 1":              {`--outbound-port "2" has no effect: --outbound-port "1"` + later},
		"--excluded-ports 1 --excluded-ports 2,3 --excluded-ports 1 --excluded-ports 4": {
			`--excluded-ports "1" has no effect: --excluded-ports "4"` + later,
			`--excluded-ports "2,3" has no effect: --excluded-ports "4"` + later +
				"\nhint: a list is one word, with commas: --excluded-ports=1,2,3,4"},
		"--included-ports 1 --included-ports *": {`--included-ports "1" has no effect: --included-ports "*"` + later},
		"--included-ports 1 --included-ports=":  {`--included-ports "1" has no effect: --included-ports ""` + later},
		"--backend nft --binary=legacy":         {`--backend "nft" has no effect: --binary "legacy"` + later},
		"--dry-run --dry-run=false":             {`--dry-run "true" has no effect: --dry-run "false"` + later},
	} {
		fs, flags, _ := newFlags()
		new(own).register(flags)
		if err := fs.Parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, flags.Replaced()); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
}
