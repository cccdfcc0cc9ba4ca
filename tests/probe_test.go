package tests

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// Beside a running proxy the probe cannot tell where connections arrive, and says
// so. It takes nothing from the proxy, and what it can tell it does.
func TestProbeBesideProxy(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, false)
		apply(t, p, "--redirect-dns")
		out := meshtables(t, p, "probe")
		if !strings.HasPrefix(out, "cannot tell: ") {
			t.Errorf("says %s", out)
		}
		const inUse = ": cannot tell: the port is in use, perhaps by a running proxy\n"
		for name, want := range map[string]bool{
			"outbound": true, "proxy's outbound": true, "inbound": true, "proxy to itself": true, "DNS": true,
			"proxy to application": false,
		} {
			for _, f := range lab.Families() {
				if got := strings.Contains(lineOf(out, name+" "+string(f)+": "), inUse); got != want {
					t.Errorf("%s %s: says that the port is in use: %t, want %t\n%s", name, f, got, want, out)
				}
			}
		}
		for _, f := range lab.Families() {
			dial(t, p.Peer, lab.Client{}, lab.PodAddr.Port(f, 8080), proxyIn)
		}
	})
}

// lineOf returns the first line that contains the text, with its end.
func lineOf(lines, text string) string {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// What each backend writes sends every kind of connection where it has to go.
func TestProbe(t *testing.T) {
	t.Parallel()
	all := map[string][]string{
		"default":       {},
		"tproxy":        {"--mode=TPROXY"},
		"dns":           {"--redirect-dns"},
		"all dns":       {"--redirect-dns", "--capture-all-dns", "--mode=TPROXY"},
		"lists":         {"-b", "80,443", "-i", "203.0.113.0/24,2001:db8:113::/48"},
		"groups":        {"--included-groups=50,51"},
		"interfaces":    {"--excluded-interfaces=net1", "--mode=TPROXY"},
		"drop invalid":  {"--drop-invalid"},
		"other ports":   {"-p", "1", "-z", "2"},
		"other proxy":   {"-u", "65534", "-g", "65534"},
		"other mark":    {"--mode=TPROXY", "-t", "7", "-r", "8"},
		"outbound only": {"-b", "", "-q", "5432", "-i", ""},
	}
	for i, name := range slices.Sorted(maps.Keys(all)) {
		args := all[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forHalfOfBackends(t, i, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				apply(t, p, args...)
				if out := meshtables(t, p, "probe"); !strings.HasPrefix(out, "passed: ") {
					t.Errorf("without options: %s", out)
				}
				if out := meshtables(t, p, append([]string{"probe", "--ipv6=off"}, args...)...); !strings.HasPrefix(out, "passed: what") {
					t.Errorf("with them: %s", out)
				}
			})
		})
	}
}
