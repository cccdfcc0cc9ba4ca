package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/cluster/kube"
)

// cluster is a cluster with what the tests ask of it, by kubectl.
type cluster struct{ *kube.Cluster }

// do runs kubectl, which must succeed, and returns what it printed.
func (c *cluster) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies manifests from a file's content.
func (c *cluster) apply(t *testing.T, manifests string) {
	t.Helper()
	c.do(t, "apply", "-f", writeFile(t, "manifests.yaml", manifests))
}

// applyFolder applies a kustomization of deploy/, with the images of the tests and more fields.
func (c *cluster) applyFolder(t *testing.T, folder, more string) {
	t.Helper()
	c.do(t, "apply", "-k", overlay(t, folder, more))
}

// overlay writes a kustomization of a folder of deploy/ with the images of the tests, as a user
// would, and returns its folder.
func overlay(t *testing.T, folder, more string) string {
	t.Helper()
	dir, path := overlayFolder(t, folder)
	writeOverlay(t, dir, "resources: ["+path+"]\n"+more)
	return dir
}

// example writes a kustomization of the workload in deploy/example with a component of deploy/,
// under another name, and returns its folder.
func example(t *testing.T, component, name, more string) string {
	t.Helper()
	dir, path := overlayFolder(t, component)
	text, err := os.ReadFile("../../deploy/example/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "deployment.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	writeOverlay(t, dir, fmt.Sprintf("resources: [deployment.yaml]\ncomponents: [%s]\nnamePrefix: %s-\n"+
		"labels:\n- pairs: {app: %[2]s}\n  includeSelectors: true\n%[3]s", path, name, more))
	return dir
}

// overlayFolder returns a new folder, and the path from there to a folder of deploy/:
// kustomizations name others by relative paths.
func overlayFolder(t *testing.T, folder string) (dir, path string) {
	t.Helper()
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.Rel(dir, filepath.Join(deploy, folder)); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func writeOverlay(t *testing.T, dir, fields string) {
	t.Helper()
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" + fields + "images:\n"
	for _, name := range []string{meshtablesImage, programsImage, "registry.example/proxy", "registry.example/application"} {
		text += fmt.Sprintf("- {name: %s, newTag: %s}\n", name, imageTag)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// patience is far more than anything takes on a busy machine.
const patience = 3 * time.Minute

// rolledOut waits until all pods of a workload are ready.
func (c *cluster) rolledOut(t *testing.T, workload string, more ...string) {
	t.Helper()
	args := append([]string{"rollout", "status", workload, "--timeout", patience.String()}, more...)
	if out, err := c.Kubectl(t.Context(), args...); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, c.troubles(t))
	}
}

// troubles returns what the cluster says about pods that are not ready.
func (c *cluster) troubles(t *testing.T) string {
	ctx := context.WithoutCancel(t.Context())
	pods, _ := c.Kubectl(ctx, "get", "pods", "-A", "-o", "wide")
	events, _ := c.Kubectl(ctx, "get", "events", "-A", "--field-selector=type=Warning")
	return pods + events
}

// eventually calls a check until it returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// podList is what kubectl prints of pods.
type podList struct {
	Items []pod
}

type pod struct {
	Metadata struct {
		Name, Namespace   string
		DeletionTimestamp string
	}
	Status struct {
		Phase  string
		PodIP  string
		PodIPs []struct{ IP string }
	}
}

// pods returns the pods with a label, except those that are going.
func (c *cluster) pods(t *testing.T, label string) []pod {
	t.Helper()
	var list podList
	if err := json.Unmarshal([]byte(c.do(t, "get", "pods", "-l", label, "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var there []pod
	for _, p := range list.Items {
		if p.Metadata.DeletionTimestamp == "" {
			there = append(there, p)
		}
	}
	return there
}

// serverPort is where a machine outside of the cluster answers; the node stands in for it.
const outsideServer = "203.0.113.10:80"

// wantCaptured checks by connections whether the pods with a label are captured: what their
// applications see as the client, and whether the proxy has passed on what they ask.
func (c *cluster) wantCaptured(t *testing.T, label string, captured bool) {
	t.Helper()
	pods := c.pods(t, label)
	if len(pods) == 0 {
		t.Errorf("there is no pod with %s", label)
	}
	for _, p := range pods {
		name := p.Metadata.Name
		in := c.do(t, "get", "--raw", "/api/v1/namespaces/default/pods/"+name+":8080/proxy/")
		if strings.Contains(in, "sees 127.0.0.6") != captured {
			t.Errorf("%s: in: %q, want captured: %t", name, in, captured)
		}
	}
	// Asking takes a while, so that of many pods some do.
	for i, p := range pods {
		if i%10 == 0 {
			c.wantOutbound(t, p.Metadata.Name, outsideServer, captured)
		}
	}
}

// wantOutbound lets an application ask a server, and checks whether its proxy has passed that on.
func (c *cluster) wantOutbound(t *testing.T, name, server string, captured bool) string {
	t.Helper()
	answer := c.do(t, "exec", name, "-c", "application", "--", "/program", "ask", "http://"+server+"/")
	if !captured {
		return answer
	}
	if log := c.do(t, "logs", name, "-c", "proxy"); !strings.Contains(log, "outbound to "+server+" ") {
		t.Errorf("%s: asked %s past the proxy, which says\n%s", name, server, log)
	}
	return answer
}
