package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// The dataplane is named by a flag, else by the environment, else by the configuration
// file, else by the pod's annotations, whatever else is given, right or wrong.
func TestChosenDataplane(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ambientFile := file("ambient.yaml", "dataplane-mode: ambient\nno-such-option: 1\nhost-probe-address: 10.0.0.1\n")
	sidecarFile := file("sidecar.yaml", "dataplane-mode: sidecar\n")
	enabled := file("enabled", "a=wrong\nambient.istio.io/redirection=\"enabled\"\n")
	disabled := file("disabled", "ambient.istio.io/redirection=\"disabled\"\n")
	namesEnabled := file("annotations.yaml", "annotations: "+enabled+"\n")
	const variable = "MESHTABLES_DATAPLANE_MODE="
	for _, test := range []struct {
		args, env string
		want      dataplane
	}{
		{"", "", ofSidecars},
		{"--dataplane-mode=ambient", "", ofAmbient},
		{"--host-probe-address 10.0.0.1 -b 80 --proxy-uid 1337 --no-such-option x --dataplane-mode ambient", "", ofAmbient},
		{"-k tap0 -m TPROXY --dataplane-mode=ambient", "", ofAmbient},
		{"--included-ports --dataplane-mode=ambient", "", ofSidecars},
		{"--dataplane-mode=ambient --dataplane-mode=sidecar", "", ofSidecars},
		{"", variable + "ambient", ofAmbient},
		{"--dataplane-mode=sidecar", variable + "ambient", ofSidecars},
		{"--config=" + ambientFile, "", ofAmbient},
		{"--config=" + ambientFile, variable + "sidecar", ofSidecars},
		{"", "MESHTABLES_CONFIG=" + ambientFile, ofAmbient},
		{"--annotations=" + enabled, "", ofAmbient},
		{"--annotations " + disabled, "", ofSidecars},
		{"--config=" + namesEnabled, "", ofAmbient},
		{"--annotations=" + enabled, variable + "sidecar", ofSidecars},
		{"--annotations=" + enabled + " --config=" + sidecarFile, "", ofSidecars},
		{"--annotations=" + filepath.Join(dir, "none"), "", ofSidecars},
		{"--dataplane-mode=other", "", ofSidecars},
	} {
		var env []string
		if test.env != "" {
			env = []string{test.env}
		}
		if got := chosenDataplane(verbs()[0], strings.Fields(test.args), env, make(files)); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.args, test.env, got, test.want)
		}
	}
}

// A name or a letter means the same in every dataplane: the command line is read before it is
// known which.
func TestNamesMeanTheSame(t *testing.T) {
	t.Parallel()
	byName, byLetter := make(map[string]config.Row), make(map[string]string)
	for _, p := range policies() {
		for _, row := range p.Options().Rows() {
			first, ok := byName[row.Name]
			if !ok {
				byName[row.Name], first = row, row
			}
			if row.Letter != first.Letter || (row.Value.Type() == "bool") != (first.Value.Type() == "bool") ||
				cmp.Diff(first.Variables(), row.Variables()) != "" && row.Name != "redirect-dns" {
				t.Errorf("--%s is -%s %s %q and -%s %s %q", row.Name, first.Letter, first.Value.Type(), first.Variables(), row.Letter, row.Value.Type(), row.Variables())
			}
			if name, ok := byLetter[row.Letter]; ok && row.Letter != "" && name != row.Name {
				t.Errorf("-%s is --%s and --%s", row.Letter, name, row.Name)
			}
			byLetter[row.Letter] = row.Name
		}
	}
}

// Removing finds what any policy owns.
func TestEveryOwnership(t *testing.T) {
	t.Parallel()
	want := []iptables.Lookup{{Mark: 1337, Table: 133}, {Mark: 0x111, Mask: 0xfff, Table: 100}}
	own := policies().Ownership()
	if diff := cmp.Diff(want, own.Lookups); diff != "" || len(own.Policies) != 3 || len(own.Sets) != 2 || len(own.Chains) != 1 || len(own.Addresses) != 1 {
		t.Errorf("got %+v", own)
	}
}

// An option of another dataplane is told.
func TestOptionsOfOtherDataplanes(t *testing.T) {
	t.Parallel()
	line := newCommandLine(verbs()[0], ofSidecars)
	err := line.parse(verbs()[0], []string{"--proxy-mark=7"})
	if err == nil || !strings.HasSuffix(err.Error(), "hint: it is an option of --dataplane-mode=ambient") {
		t.Errorf("got %v", err)
	}
	if hints := line.misspelt([]string{"MESHTABLES_PROXY_MARK=7"}); hints != nil {
		t.Errorf("got %q", hints)
	}
}
