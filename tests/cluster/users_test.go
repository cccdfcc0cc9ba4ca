package cluster

import (
	"errors"
	"strings"
	"testing"
)

// usersByNamespace has pods of OpenShift's kind: it gives their namespaces ranges of users, and
// says in an annotation that it has admitted them. Where somebody has said who the proxy is, they
// are captured. Elsewhere they do not start, and kubectl says why.
func usersByNamespace(t *testing.T, c *cluster) {
	const (
		admitted = "openshift.io/scc: restricted-v2"
		refused  = `annotation openshift.io/scc "restricted-v2": the pod's users may be of a range that its namespace has`
	)
	c.applyFolder(t, "cni", `
patches:
- target: {kind: DaemonSet, name: meshtables-cni}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--proxy-users=openshift-*=1000659999"}
`)
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	for name, manifest := range map[string]string{
		"openshift-shop": strings.ReplaceAll(single("ranged", admitted), "1337", "1000659999"),
		"elsewhere":      single("unknown", admitted),
	} {
		c.do(t, "create", "namespace", name)
		c.do(t, "apply", "-n", name, "-f", writeFile(t, "pod.yaml", manifest))
	}

	c.do(t, "wait", "-n", "openshift-shop", "--for=condition=Ready", "pod/ranged", "--timeout="+patience.String())
	if in := c.do(t, "get", "--raw", "/api/v1/namespaces/openshift-shop/pods/ranged:8080/proxy/"); !strings.Contains(in, "sees 127.0.0.6") {
		t.Errorf("in: %q", in)
	}
	c.do(t, "exec", "-n", "openshift-shop", "ranged", "-c", "application", "--", "/program", "ask", "http://"+outsideServer+"/")
	if log := c.do(t, "logs", "-n", "openshift-shop", "ranged", "-c", "proxy"); !strings.Contains(log, "outbound to "+outsideServer+" ") {
		t.Errorf("the proxy says\n%s", log)
	}

	eventually(t, func() error {
		if says := c.do(t, "describe", "-n", "elsewhere", "pod", "unknown"); !strings.Contains(says, refused) {
			return errors.New(says)
		}
		return nil
	})
	if phase := c.do(t, "get", "-n", "elsewhere", "pod", "unknown", "-o", "jsonpath={.status.phase}"); phase != "Pending" {
		t.Errorf("the pod is %s", phase)
	}
	c.do(t, "delete", "namespace", "openshift-shop", "elsewhere")
}
