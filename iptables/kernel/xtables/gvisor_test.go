package xtables

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// What older versions of gVisor lack is said as such: nobody can load a module there.
func TestFailuresInGVisor(t *testing.T) {
	t.Parallel()
	if missingCapabilities() != "" {
		nstest.Missing(t, "without capabilities, what is missing is taken for what may not be seen")
	}
	for _, test := range []struct {
		stderr string
		kind   error
		want   string
	}{
		{"iptables-restore v1.8.10 (legacy): iptables-restore: unable to initialize table 'raw'\n\nError occurred at line: 1\n",
			ErrMissing, "gVisor had no table raw before google/gvisor#12688, and without it DNS cannot be captured: leave that out, or use a newer gVisor"},
		{"iptables-restore: line 4 failed\n",
			nil, "gVisor took at most 8 KiB of rules a table before google/gvisor#12686: use a newer one, or list fewer ports and networks"},
		{"Warning: Extension comment revision 0 not supported, missing kernel module?\niptables-restore: line 4 failed\n",
			ErrMissing, "gVisor has netfilter in part: leave out what needs this"},
		{"iptables-save v1.8.9 (legacy): Cannot initialize: Module is wrong version\n",
			ErrMissing, "gVisor has netfilter in part: leave out what needs this"},
		{"iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)\n",
			fs.ErrPermission, hintPermission + `; gVisor keeps NET_RAW from containers unless its runsc.toml has net-raw = "true"`},
	} {
		e := newError(command{path: "/sbin/iptables-restore"}, 1, test.stderr, errors.New("exit status 1"))
		e.inGVisor()
		e.locate([]edit{{table: iptables.Raw, lines: []string{"*raw", "-A OUTPUT", "-A OUTPUT", "COMMIT"}}})
		if test.kind != nil && !errors.Is(e, test.kind) || !strings.HasSuffix(e.Error(), "\nhint: "+test.want) {
			t.Errorf("%q:\n got %v\nwant %s", test.stderr, e, test.want)
		}
	}
}

// A rule that nobody can read is a fault of ours only among ours.
func TestUnshown(t *testing.T) {
	t.Parallel()
	for chain, want := range map[string]bool{"ISTIO_OUTPUT": true, "OTHERS": false} {
		text := "*nat\n:" + chain + " - [0:0]\n-A " + chain + " -m owner [unsupported revision] -j RETURN\nCOMMIT\n"
		tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		own := owned.Of(iptables.Ruleset{Tables: tables})
		if got := hasUnshown(&own); got != want {
			t.Errorf("%s: %t", chain, got)
		}
	}
}
