package tests

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/soak"
)

// fails runs the program, which has to end with a status, and returns what it says.
func fails(t *testing.T, p pod, status int, args ...string) string {
	t.Helper()
	got, says := run(t, p, args...)
	if got != status {
		t.Errorf("meshtables %q: ended with status %d, want %d\n%s", args, got, status, says)
	}
	return says
}

// Where the rules of one dataplane stand, those of another are refused, unless they are to be
// replaced. Removing needs to know of neither.
func TestReplaceDataplane(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		empty := observeRouting(t, p)
		of := map[string][]string{
			"sidecar": {"--backend=" + backend, "--mode=TPROXY", "--redirect-dns", "--excluded-ports=80"},
			"ambient": {"--backend=" + backend, "--dataplane-mode=ambient", "--redirect-dns", "--excluded-ports=80"},
		}
		only := make(map[string]string)
		for name, args := range of {
			wantSays(t, p, "applied", args...)
			only[name] = observeInOrder(t, p)
			wantRemoved(t, p, empty)
		}
		wantSays(t, p, "applied", of["sidecar"]...)
		for i, name := range []string{"ambient", "sidecar", "ambient"} {
			other := []string{"sidecar", "ambient", "sidecar"}[i]
			before := observe(t, p)
			refused := fails(t, p, 1, of[name]...)
			want := fmt.Sprintf("meshtables: error: nothing was changed: the rules here (%s) are those of dataplane mode %s, and these are of %s\n"+
				"meshtables: hint: replace them, in one step, with --replace-dataplane\n", backend, other, name)
			if refused != want || observe(t, p) != before {
				t.Errorf("says\n%s\nwant\n%s", refused, want)
			}
			says := fails(t, p, 3, append([]string{"verify"}, of[name]...)...)
			if !strings.Contains(says, "different: the rules are those of "+other+", not of "+name) || !strings.Contains(says, "--replace-dataplane") {
				t.Errorf("verify says %s", says)
			}
			if says := meshtables(t, p, "verify", "--backend="+backend); !strings.HasPrefix(says, "as wanted") {
				t.Errorf("verify without options says %s", says)
			}
			wantSays(t, p, "applied", append(of[name], "--replace-dataplane")...)
			if diff := cmp.Diff(only[name], observeInOrder(t, p)); diff != "" {
				t.Errorf("%s: alone (-), in place of the other (+):\n%s", name, diff)
			}
			wantSays(t, p, "unchanged", of[name]...)
		}
		wantRemoved(t, p, empty)
	})
}

// chosenPriority is that of a policy rule where the kernel chooses it: before the others.
var chosenPriority = regexp.MustCompile(`(?m)^3276[0-5](:\tfrom all fwmark 0x539 )`)

// observeInOrder is observe without the place of policy rules for which any is right.
func observeInOrder(t *testing.T, p pod) string {
	t.Helper()
	return chosenPriority.ReplaceAllString(observe(t, p), "any$1")
}

// wantRemoved removes everything. Programs leave empty tables.
func wantRemoved(t *testing.T, p pod, routing string) {
	t.Helper()
	wantSays(t, p, "removed", "--cleanup-only")
	if left := observe(t, p); strings.Contains(left, "ISTIO_") || strings.Contains(left, "meshtables") || observeRouting(t, p) != routing {
		t.Errorf("left over:\n%s", left)
	}
	wantSays(t, p, "nothing to remove", "--cleanup-only")
}

// Rules of another dataplane in another backend are refused and replaced too.
func TestReplaceDataplaneElsewhere(t *testing.T) {
	t.Parallel()
	n := 0
	for _, from := range backends() {
		for _, to := range backends() {
			if n++; from == to || !soak.Turn(n, 0, 3) {
				continue
			}
			t.Run(from+" "+to, func(t *testing.T) {
				t.Parallel()
				p := newPod(t, to)
				wantSays(t, p, "applied", "--backend="+from, "--dataplane-mode=ambient")
				if says := fails(t, p, 1, "--backend="+to); !strings.Contains(says, "are those of dataplane mode ambient") {
					t.Errorf("says %s", says)
				}
				wantSays(t, p, "applied", "--backend="+to, "--replace-dataplane")
				wantSays(t, p, "as wanted", "verify", "--backend="+to, "--ipv6=on")
				if got := observeRouting(t, p); strings.Contains(got, "0x111") {
					t.Errorf("left over:\n%s", got)
				}
			})
		}
	}
}
