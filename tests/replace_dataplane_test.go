package tests

import (
	"fmt"
	"regexp"
	"slices"
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

// dataplane is one of a mesh.
type dataplane struct {
	title string
	args  []string
	// trace is in what observe returns while its rules are there, and only then.
	trace string
}

// dataplanes returns one of each kind. The rules of the first are in every table.
func dataplanes() []dataplane {
	return []dataplane{
		{"istio sidecar", []string{"--mode=TPROXY", "--redirect-dns", "--excluded-ports=80"}, "lookup 133 "},
		{"istio ambient", []string{"--dataplane-mode=ambient", "--redirect-dns", "--excluded-ports=80"}, "lookup 100 "},
		{"linkerd sidecar", []string{"--mesh=linkerd", "--excluded-ports=80"}, "PROXY_INIT_"},
	}
}

// wantOnly fails unless there is something of the dataplane, and nothing of any other.
func wantOnly(t *testing.T, p pod, d dataplane) {
	t.Helper()
	there := observe(t, p)
	for _, other := range dataplanes() {
		if strings.Contains(there, other.trace) != (other.title == d.title) {
			t.Errorf("of %s, want %s alone:\n%s", other.title, d.title, there)
		}
	}
}

// Where the rules of one dataplane stand, those of another are refused, unless they are to be
// replaced. Removing needs to know of none.
func TestReplaceDataplane(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		empty := observeRouting(t, p)
		all := dataplanes()
		only := make(map[string]string)
		for i := range all {
			d := &all[i]
			d.args = append(d.args, "--backend="+backend)
			wantSays(t, p, "applied", d.args...)
			only[d.title] = observeInOrder(t, p)
			wantRemoved(t, p, empty)
		}
		other := all[0]
		wantSays(t, p, "applied", other.args...)
		// Each comes after each other.
		for _, i := range []int{1, 2, 0, 2, 1, 0} {
			d := all[i]
			refusesToReplace(t, p, other, d)
			wantSays(t, p, "applied", append(d.args, "--replace-dataplane")...)
			if diff := cmp.Diff(only[d.title], observeInOrder(t, p)); diff != "" {
				t.Errorf("%s: alone (-), in place of %s (+):\n%s", d.title, other.title, diff)
			}
			wantOnly(t, p, d)
			wantSays(t, p, "unchanged", d.args...)
			other = d
		}
		wantRemoved(t, p, empty)
	})
}

// refusesToReplace applies and verifies a dataplane, unasked, where there is another.
func refusesToReplace(t *testing.T, p pod, there, d dataplane) {
	t.Helper()
	before := observe(t, p)
	refused := fails(t, p, 1, d.args...)
	want := fmt.Sprintf("meshtables: error: nothing was changed: the rules here (%s) are those of %s, and these are of %s\n"+
		"meshtables: hint: replace them, in one step, with --replace-dataplane\n", p.backend, there.title, d.title)
	if refused != want || observe(t, p) != before {
		t.Errorf("says\n%s\nwant\n%s", refused, want)
	}
	says := fails(t, p, 3, append([]string{"verify"}, d.args...)...)
	if !strings.Contains(says, "different: the rules are those of "+there.title+", not of "+d.title+" ") || !strings.Contains(says, "--replace-dataplane") {
		t.Errorf("verify says %s", says)
	}
	if says := meshtables(t, p, "verify", "--backend="+p.backend); !strings.HasPrefix(says, "as wanted") {
		t.Errorf("verify without options says %s", says)
	}
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
	left := observe(t, p)
	if slices.ContainsFunc([]string{"ISTIO_", "PROXY_INIT_", "meshtables"}, func(of string) bool { return strings.Contains(left, of) }) || observeRouting(t, p) != routing {
		t.Errorf("left over:\n%s", left)
	}
	wantSays(t, p, "nothing to remove", "--cleanup-only")
}

// Rules of another dataplane in another backend are refused and replaced too.
func TestReplaceDataplaneElsewhere(t *testing.T) {
	t.Parallel()
	n, all := 0, dataplanes()
	for _, from := range backends() {
		for _, to := range backends() {
			if n++; from == to || !soak.Turn(n, 0, 3) {
				continue
			}
			there, d := all[n/3%len(all)], all[(n/3+1)%len(all)]
			t.Run(from+" "+to, func(t *testing.T) {
				t.Parallel()
				p := newPod(t, to)
				wantSays(t, p, "applied", append(there.args, "--backend="+from)...)
				args := append(d.args, "--backend="+to)
				if says := fails(t, p, 1, args...); !strings.Contains(says, "are those of "+there.title) {
					t.Errorf("says %s", says)
				}
				wantSays(t, p, "applied", append(args, "--replace-dataplane")...)
				wantSays(t, p, "as wanted", append(args, "verify", "--ipv6=on")...)
				wantOnly(t, p, d)
			})
		}
	}
}
