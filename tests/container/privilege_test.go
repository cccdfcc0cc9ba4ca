package container

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// The manifests give no capability more, and none less, than the table that
// tests/privilege_test.go establishes.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	pod := examplePod(t)
	legacy := kustomized(t, "legacy", "Deployment")
	tproxy := patchedPod(t).Spec
	for _, c := range []struct {
		container          corev1.Container
		operation, backend string
	}{
		{initContainer(t, &pod.Spec, applying), "apply", "iptables-nft"},
		{initContainer(t, &pod.Spec, validation), "`probe`", "iptables-nft"},
		{initContainer(t, &pod.Spec, applying), "apply", "nftables"},
		{initContainer(t, &pod.Spec, validation), "`probe`", "nftables"},
		{initContainer(t, &tproxy, applying), "apply `--mode=TPROXY --redirect-dns`", "iptables-nft"},
		{initContainer(t, &tproxy, validation), "`probe --mode=TPROXY --redirect-dns`", "iptables-nft"},
		{initContainer(t, &legacy, applying), "apply", "iptables-legacy"},
		{initContainer(t, &legacy, validation), "`probe`", "iptables-legacy"},
	} {
		security := c.container.SecurityContext
		account := fmt.Sprintf("%d:%d", *security.RunAsUser, *security.RunAsGroup)
		var adds []string
		for _, capability := range security.Capabilities.Add {
			adds = append(adds, string(capability))
		}
		// The probe does without what connections from outside take.
		want, _, _ := strings.Cut(established(t, c.operation, account, c.backend), ", in part; all with ")
		if got := strings.Join(adds, ", "); got != want {
			t.Errorf("%s with %s adds %q, the table says %q", c.container.Name, c.backend, got, want)
		}
	}
}

// established returns a cell of the table in deploy/README.md.
func established(t *testing.T, operation, account, backend string) string {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var heading []string
	for line := range strings.SplitSeq(string(document), "\n") {
		cells := strings.Split(line, " | ")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], "| ")
		}
		if slices.Contains(cells, "user:group") {
			heading = cells
		}
		column := slices.Index(heading, "`"+backend+"`")
		if column > 0 && len(cells) == len(heading) && cells[0] == operation && cells[1] == account {
			return cells[column]
		}
	}
	t.Fatalf("the table has no cell for %s, %s, %s", operation, account, backend)
	return ""
}

// capability is one as documents name it.
var capability = regexp.MustCompile(`\b(?:NET_ADMIN|NET_RAW|SYS_ADMIN|SETUID|SETGID)\b`)

// docs/security.md, which has the privileges of each verb in short, says what the table
// says.
func TestSecurityDocument(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"`--dry-run`", "apply", "`verify`", "`show`", "`explain --live`", "`probe`", "`--cleanup-only`"} {
		row := regexp.MustCompile(`(?m)^\|[^|]*` + operation + `[^|]*\|(.*)\|$`).FindSubmatch(document)
		if row == nil {
			t.Errorf("it has no row of %s", operation)
			continue
		}
		want := capabilitiesIn(established(t, operation, "0:0", "iptables-nft"))
		if diff := cmp.Diff(want, capabilitiesIn(string(row[1]))); diff != "" {
			t.Errorf("%s: the table (-), docs/security.md (+):\n%s", operation, diff)
		}
	}
}

func capabilitiesIn(text string) []string {
	found := capability.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// The Pod Security Standards have nothing against the pod but the capabilities
// that it needs, and that validation takes root.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	pod := examplePod(t)
	want := map[api.Level][]string{
		api.LevelBaseline: {
			`non-default capabilities: container "meshtables" must not include "NET_ADMIN" in securityContext.capabilities.add`,
		},
		api.LevelRestricted: {
			`unrestricted capabilities: containers "meshtables", "meshtables-validation" must not include "NET_ADMIN", "SETGID", "SETUID" in securityContext.capabilities.add`,
			`runAsNonRoot != true: container "meshtables-validation" must not set securityContext.runAsNonRoot=false`,
			`runAsUser=0: container "meshtables-validation" must not set runAsUser=0`,
		},
	}
	got := make(map[api.Level][]string)
	for level := range want {
		got[level] = violations(t, level, &pod)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// violations returns what a level of the Pod Security Standards has against a pod.
func violations(t *testing.T, level api.Level, pod *corev1.Pod) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	metadata := metav1.ObjectMeta{Annotations: maps.Clone(pod.Annotations)}
	for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &metadata, &pod.Spec) {
		if !result.Allowed {
			reasons = append(reasons, regexp.MustCompile(`\s+`).ReplaceAllString(result.ForbiddenReason+": "+result.ForbiddenDetail, " "))
		}
	}
	return reasons
}
