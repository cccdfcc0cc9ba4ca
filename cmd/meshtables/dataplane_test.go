package main

import (
	"os"
	"path/filepath"
	"slices"
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
	linkerdFile := file("linkerd.yaml", "mesh: linkerd\nexcluded-ports: 80\n")
	injected := file("injected", "linkerd.io/proxy-version=\"edge-26.7.1\"\n")
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

		{"--mesh=linkerd", "", ofLinkerd},
		{"--mesh linkerd -p 4143", "", ofLinkerd},
		{"-p 4143 -o 4140 -r 80 -g 7 --mesh=linkerd", "", ofLinkerd},
		{"-p 4143 --incoming-proxy-port 4143", "", ofLinkerd},
		{"-p 4143 -o 4140 -w", "", ofLinkerd},
		{"--ipv6 --outbound-ports-to-ignore=80", "", ofLinkerd},
		{"verify --simulate", "", ofLinkerd},
		{"linkerd-init", "", ofLinkerd},
		{"--comments linkerd-init -p 1", "", ofLinkerd},
		{"-p 4143 -o 4140 --ipv6=false", "", ofSidecars},
		{"istio-iptables --incoming-proxy-port 4143", "", ofSidecars},
		{"--mesh=istio --incoming-proxy-port 4143", "", ofSidecars},
		{"--mesh=linkerd --mesh=istio", "", ofSidecars},
		{"--mesh=other", "", ofSidecars},
		{"", "MESHTABLES_MESH=linkerd", ofLinkerd},
		{"--mesh=istio", "MESHTABLES_MESH=linkerd", ofSidecars},
		{"--incoming-proxy-port 4143", "MESHTABLES_MESH=istio", ofLinkerd},
		{"--config=" + linkerdFile, "", ofLinkerd},
		{"--config=" + linkerdFile, "MESHTABLES_MESH=istio", ofSidecars},
		{"--annotations=" + injected, "", ofLinkerd},
		{"--annotations=" + injected + " --mesh=istio", "", ofSidecars},
		{"--annotations=" + enabled + " --mesh=istio", "", ofAmbient},
		{"--annotations=" + enabled + " --mesh=linkerd", "", ofLinkerd},
		{"--network-namespace=/run/netns/mesh --annotations=" + injected + " --dataplane-mode=sidecar", "", ofSidecars},
	} {
		var env []string
		if test.env != "" {
			env = []string{test.env}
		}
		v, args := splitVerb(strings.Fields(test.args))
		if got := chosenDataplane(v, args, env, make(files)); got.dataplane != test.want {
			t.Errorf("%s %s: got %s, want %s", test.args, test.env, got.dataplane, test.want)
		}
	}
}

// A name or a letter means the same in every dataplane of a mesh. Whether it takes a value is the
// same in all: the command line is read before it is known which.
func TestNamesMeanTheSame(t *testing.T) {
	t.Parallel()
	byName, byLetter := make(map[string]config.Row), make(map[string]string)
	takesValue := make(map[string]bool)
	for _, p := range policies() {
		for _, row := range p.Options().Rows() {
			takes := row.Value.Type() != "bool"
			for _, name := range []string{row.Name, "-" + row.Letter} {
				if before, ok := takesValue[name]; ok && before != takes && name != "-" {
					t.Errorf("%s of --%s takes a value in one policy only", name, row.Name)
				}
				takesValue[name] = takes
			}
			if p.Mesh() != istioMesh {
				continue
			}
			first, ok := byName[row.Name]
			if !ok {
				byName[row.Name], first = row, row
			}
			if row.Letter != first.Letter || cmp.Diff(first.Variables(), row.Variables()) != "" && row.Name != "redirect-dns" {
				t.Errorf("--%s is -%s %q and -%s %q", row.Name, first.Letter, first.Variables(), row.Letter, row.Variables())
			}
			if name, ok := byLetter[row.Letter]; ok && row.Letter != "" && name != row.Name {
				t.Errorf("-%s is --%s and --%s", row.Letter, name, row.Name)
			}
			byLetter[row.Letter] = row.Name
		}
	}
}

// linkerdNames has the names that only Linkerd has, and all of them.
func TestLinkerdNames(t *testing.T) {
	t.Parallel()
	istios := make(map[string]bool)
	for _, row := range slices.Concat(ofSidecars.policy().Options().Rows(), ofAmbient.policy().Options().Rows()) {
		istios[row.Name] = true
	}
	names := []string{linkerdWait, linkerdSave}
	line := newCommandLine(verbs()[0], choice{dataplane: ofLinkerd})
	for _, o := range line.flags.Options() {
		names = append(names, o.FlagNames...)
	}
	for _, o := range line.flags.Policy() {
		if !istios[o.Name] {
			names = append(names, o.Name)
		}
	}
	for _, row := range line.options.linkerdOptions.rows() {
		names = append(names, row.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, linkerdNames); diff != "" {
		t.Errorf("of the options (-), in the list (+):\n%s", diff)
	}
	listed := linkerdList()
	for _, name := range linkerdNames {
		if !slices.ContainsFunc(listed, func(n linkerdName) bool { return n.Name == name }) {
			t.Errorf("--%s is not in the help", name)
		}
	}
}

// Removing finds what any policy owns.
func TestEveryOwnership(t *testing.T) {
	t.Parallel()
	want := []iptables.Lookup{{Mark: 1337, Table: 133}, {Mark: 0x111, Mask: 0xfff, Table: 100}}
	own := policies().Ownership()
	if diff := cmp.Diff(want, own.Lookups); diff != "" || len(own.Policies) != 4 || len(own.Sets) != 2 || len(own.Chains) != 2 || len(own.Addresses) != 1 {
		t.Errorf("got %+v", own)
	}
}

// An option of another dataplane is told, and so is another mesh's name for one.
func TestOptionsOfOtherDataplanes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		here        dataplane
		given, hint string
	}{
		{ofSidecars, "--proxy-mark=7", "it is an option of --dataplane-mode=ambient"},
		{ofSidecars, "--incoming-proxy-port=7", "it is an option of --mesh=linkerd"},
		{ofSidecars, "--timeout-close-wait-secs=7", "it is an option of --mesh=linkerd"},
		{ofAmbient, "--subnets-to-ignore=7", "it is an option of --mesh=linkerd"},
		{ofLinkerd, "--envoy-port=7", "it is an option of --mesh=istio"},
		{ofLinkerd, "--proxy-mark=7", "it is an option of --dataplane-mode=ambient"},
	} {
		line := newCommandLine(verbs()[0], choice{dataplane: test.here})
		err := line.parse(verbs()[0], []string{test.given})
		if err == nil || !strings.HasSuffix(err.Error(), "hint: "+test.hint) {
			t.Errorf("%s with %s: got %v", test.here, test.given, err)
		}
	}
	line := newCommandLine(verbs()[0], choice{dataplane: ofSidecars})
	if hints := line.misspelt([]string{"MESHTABLES_PROXY_MARK=7"}); hints != nil {
		t.Errorf("got %q", hints)
	}
}
