package cluster

import (
	"os"
	"strings"
	"testing"
)

// TestDeploy applies what is in deploy/ for pods that write their rules themselves, as it is
// written but for the tags of images.
func TestDeploy(t *testing.T) {
	c := newCluster(t)
	serveOutside(t, c)
	c.applyFolder(t, "example", "")
	c.apply(t, pods(t))
	c.do(t, "apply", "-k", example(t, "legacy", "legacy", ""))
	c.rolledOut(t, "deployment/example")
	c.rolledOut(t, "deployment/legacy-example")
	c.do(t, "wait", "--for=condition=Ready", "pod/example", "--timeout="+patience.String())
	c.do(t, "label", "pod", "example", "app=pod")
	c.wantCaptured(t, "app=pod", true)
	c.wantCaptured(t, "app=example", true)
	c.wantCaptured(t, "app=legacy", true)
	// The annotation leaves this port alone.
	name := c.pods(t, "app=example")[0].Metadata.Name
	if answer := c.do(t, "get", "--raw", "/api/v1/namespaces/default/pods/"+name+":9090/proxy/"); strings.Contains(answer, "127.0.0.6") {
		t.Errorf("the excluded port answers %q", answer)
	}
	if log := c.do(t, "logs", "-l", "app=legacy", "-c", "meshtables"); !strings.Contains(log, "by iptables-legacy") {
		t.Errorf("the container of deploy/legacy says %q", log)
	}
}

// pods returns the pod to copy, with the images of the tests.
func pods(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), ":latest", ":"+imageTag)
}
