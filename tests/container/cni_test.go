package container

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"sigs.k8s.io/yaml"
)

// resources returns what a folder of deploy/ makes, by kind. There is one of each.
func resources(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for text := range bytes.SplitSeq(build(t, onDisk(t), folder), []byte("\n---\n")) {
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(text, &head); err != nil {
			t.Fatal(err)
		}
		all[head.Kind] = text
	}
	return all
}

// pluginPod returns the pod that a folder of deploy/ runs on every node.
func pluginPod(t *testing.T, folder string) corev1.Pod {
	t.Helper()
	return corev1.Pod{Spec: podSpec(t, resources(t, folder)["DaemonSet"], "DaemonSet")}
}

// The DaemonSet comes with no role, no account and no token.
func TestPluginWithoutRoles(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"cni", "cni-uninstall"} {
		var kinds []string
		for kind := range resources(t, folder) {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		if diff := cmp.Diff([]string{"DaemonSet", "Namespace"}, kinds); diff != "" {
			t.Errorf("%s: %s", folder, diff)
		}
		pod := pluginPod(t, folder)
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token || pod.Spec.ServiceAccountName != "" {
			t.Errorf("%s: it has a token", folder)
		}
		checkMounts(t, &pod.Spec)
	}
}

// The Pod Security Standards have nothing against it but what its work is: folders of the node,
// as their owner, also where SELinux is, and the rules of pods that came too early. The network of
// the node is what lets it start first. To be taken away it needs no capability.
func TestPluginSecurity(t *testing.T) {
	t.Parallel()
	pod := pluginPod(t, "cni")
	want := []string{
		`host namespaces: hostNetwork=true`,
		`probe or lifecycle host: container "meshtables-cni" uses probe or lifecycle host "127.0.0.1"`,
		`restricted volume types: volumes "plugins", "networks", "cache", "namespaces" use restricted volume type "hostPath"`,
		`runAsNonRoot != true: container "meshtables-cni" must not set securityContext.runAsNonRoot=false`,
		`runAsUser=0: container "meshtables-cni" must not set runAsUser=0`,
		`seLinuxOptions: container "meshtables-cni" set forbidden securityContext.seLinuxOptions: type "spc_t"`,
		`unrestricted capabilities: container "meshtables-cni" must not include "NET_ADMIN", "SYS_ADMIN" in securityContext.capabilities.add`,
	}
	leaving := pluginPod(t, "cni-uninstall")
	if add := leaving.Spec.Containers[0].SecurityContext.Capabilities.Add; len(add) > 0 {
		t.Errorf("cni-uninstall adds %v", add)
	}
	wantViolations(t, &pod, want...)
}

// wantViolations checks what the Pod Security Standards have against a pod, in order and each once.
func wantViolations(t *testing.T, pod *corev1.Pod, want ...string) {
	t.Helper()
	var got []string
	for _, v := range violations(t, api.LevelRestricted, pod) {
		if !slices.Contains(got, v) {
			got = append(got, v)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The image installs the plugin with what the manifest gives it, and takes it away again.
func TestPluginInImage(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.folders = map[string]string{"/opt/cni/bin": t.TempDir(), "/etc/cni/net.d": t.TempDir(), "/var/lib/cni": t.TempDir(), "/run/netns": t.TempDir()}
	network := filepath.Join(n.folders["/etc/cni/net.d"], "10-pods.conflist")
	const before = `{"name": "pods", "plugins": [{"type": "ptp"}]}`
	if err := os.WriteFile(network, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	installing, uninstalling := pluginPod(t, "cni"), pluginPod(t, "cni-uninstall")
	c, gone := atOnce(installing), atOnce(uninstalling)
	expect(t, n.run(t, &installing, c), 0, "installed\n", "program  /opt/cni/bin/meshtables\n", "network  /etc/cni/net.d/10-pods.conflist\n")
	text, err := os.ReadFile(network)
	if err != nil || !strings.Contains(string(text), `,{"type":"meshtables",`) {
		t.Errorf("%s, %v", text, err)
	}
	expect(t, n.run(t, &installing, c), 0, "unchanged\n")
	// As libcni writes it.
	entry := filepath.Join(n.folders["/var/lib/cni"], "results", "pods-c0ffee-eth0")
	if err := os.Mkdir(filepath.Dir(entry), 0o700); err != nil {
		t.Fatal(err)
	}
	cached := fmt.Sprintf(`{"kind":"cniCacheV1","containerId":"c0ffee","config":%q}`, base64.StdEncoding.EncodeToString(text))
	if err := os.WriteFile(entry, []byte(cached), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, n.run(t, &uninstalling, gone), 0, "program kept\n", "pods     1 must be deleted")
	if err := os.Remove(entry); err != nil {
		t.Fatal(err)
	}
	expect(t, n.run(t, &uninstalling, gone), 0, "uninstalled\n", "program  /opt/cni/bin/meshtables\n")
	if text, err := os.ReadFile(network); err != nil || string(text) != before {
		t.Errorf("%s, %v", text, err)
	}
}

// atOnce returns the container of a pod that does not stay.
func atOnce(pod corev1.Pod) corev1.Container {
	c := pod.Spec.Containers[0]
	c.Args = slices.DeleteFunc(slices.Clone(c.Args), func(arg string) bool { return arg == "--watch" })
	return c
}

// What stops pods that have started before the plugin is what stops them after the init
// container of rules, and comes before the proxy.
func TestPluginValidation(t *testing.T) {
	t.Parallel()
	want := examplePod(t).Spec
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		got := kustomized(t, "cni-validation", kind)
		checkMounts(t, &got)
		if len(got.InitContainers) != 2 || got.InitContainers[1].Name != "proxy" {
			t.Fatalf("%s: %+v", kind, got.InitContainers)
		}
		// Who writes the rules may come later.
		waiting := want.InitContainers[1]
		waiting.Args = slices.Insert(slices.Clone(waiting.Args), 1, "--wait=2m")
		if diff := cmp.Diff(waiting, got.InitContainers[0]); diff != "" {
			t.Errorf("%s: pod.yaml (-), component (+):\n%s", kind, diff)
		}
	}
	pod := examplePod(t)
	n := newNode(t)
	if r := n.run(t, &pod, initContainer(t, &pod.Spec, validation)); r.status != 126 {
		t.Errorf("in a pod without rules: %+v", r)
	}
}
