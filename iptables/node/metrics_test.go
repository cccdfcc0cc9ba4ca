package node

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata anew")

// Who watches a cluster relies on the names and the types of metrics, and on their labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	run := &Run{At: time.Unix(1_800_000_000, 0), Took: 250 * time.Millisecond, Reports: []Report{
		{Namespace: "shop", Name: "cart", State: Uncaptured, Mesh: "istio", Dataplane: "sidecar", Listening: &no,
			Problems: []Problem{{Kind: NoRules}, {Kind: NotListening}}},
		{Namespace: "shop", Name: "web", State: Different, Mesh: "istio", Dataplane: "sidecar", Rules: 35, Listening: &yes,
			Problems: []Problem{{Kind: Drift}, {Kind: Drift}}, Traffic: &Traffic{In: Counts{7, 3}, Out: Counts{66, 34}}},
		// A pod whose former network namespace is still there: the worse counts.
		{Namespace: "shop", Name: "web", State: AsWanted, Rules: 36},
		{Namespace: "shop", Name: "bad", State: Unreadable, Problems: []Problem{{Kind: BadAnnotation}}},
		{Namespace: "kube-system", Name: "dns", State: NotInMesh},
		{File: "/run/netns/x", State: NotInMesh},
	}}
	var b strings.Builder
	WriteMetrics(&b, run)
	const golden = "testdata/metrics.prom"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}
