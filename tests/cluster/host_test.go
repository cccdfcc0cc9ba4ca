package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// probed is a pod that is ready while the kubelet's probes get to the application. It asks each
// second, and one failure is enough.
const probed = `
apiVersion: v1
kind: Pod
metadata:
  name: probed
  annotations: {ambient.istio.io/redirection: enabled}
spec:
  containers:
  - name: application
    image: registry.example/application:latest
    readinessProbe:
      tcpSocket: {port: 8080}
      periodSeconds: 1
      failureThreshold: 1
`

// TestHost puts a pod under the rules of ambient mode, in which nobody takes what goes to the
// proxy. It is ready by the rule on the node alone. Without the DaemonSet it becomes unready when
// the firewall of the node is reloaded, and stays so. With it, it stays ready.
func TestHost(t *testing.T) {
	c := newCluster(t)
	c.applyFolder(t, "cni", "")
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	c.apply(t, strings.Replace(probed, ":latest", ":"+imageTag, 1))
	c.do(t, "wait", "--for=condition=Ready", "pod/probed", "--timeout="+patience.String())
	files, err := c.NetworkFiles(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/opt/cni/bin/meshtables"
	c.onNode(t, program+" --network-namespace="+files["probed"]+" --dataplane-mode=ambient")
	wait := func(ready bool) {
		t.Helper()
		c.do(t, "wait", fmt.Sprintf("--for=condition=Ready=%t", ready), "pod/probed", "--timeout="+patience.String())
	}
	wait(false)
	address := c.do(t, "get", "pod", "probed", "-o", "jsonpath={.status.podIP}")
	says := func() string {
		return c.onNode(t, program+" explain out "+address+":8080 --live | tail -3; "+program+" audit | grep ^node || true")
	}
	if got := says(); !strings.Contains(got, "hint: to mend it: meshtables host --add-pods="+address) || !strings.Contains(got, "different") {
		t.Errorf("without the node's side: %s", got)
	}
	c.onNode(t, program+" host --add-pods="+strings.ReplaceAll(c.do(t, "get", "pod", "probed", "-o", "jsonpath={.status.podIPs[*].ip}"), " ", ","))
	wait(true)
	if got := says(); !strings.Contains(got, "the answer is delivered to the prober's socket") || !strings.Contains(got, "as-wanted") {
		t.Errorf("with the node's side: %s", got)
	}
	// As a reload of firewalld, but for the rules of the cluster's own network.
	const reload = `printf '*nat\n-D POSTROUTING -j ISTIO_POSTRT\n-F ISTIO_POSTRT\n-X ISTIO_POSTRT\nCOMMIT\n' | iptables-nft-restore --noflush`
	c.onNode(t, reload)
	wait(false)

	c.applyFolder(t, "host", "")
	c.rolledOut(t, "daemonset/meshtables-host", "-n", "meshtables")
	wait(true)
	since := c.do(t, "get", "pod", "probed", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}`)
	for range 10 {
		c.onNode(t, reload)
		c.onNode(t, "sleep 0.5")
	}
	eventually(t, func() error {
		log := c.do(t, "logs", "-n", "meshtables", "daemonset/meshtables-host")
		if n := strings.Count(log, "put back (iptables-nft): "); n < 10 {
			return fmt.Errorf("it has put the rules back %d times:\n%s", n, log)
		}
		return nil
	})
	if now := c.do(t, "get", "pod", "probed", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}`); now != since {
		t.Errorf("it was unready meanwhile: ready since %s, then since %s", since, now)
	}
	// Deleted, it leaves everything in place.
	c.do(t, "delete", "daemonset/meshtables-host", "-n", "meshtables", "--wait")
	wait(true)
	if got := c.onNode(t, program+" host --verify"); !strings.HasPrefix(got, "as wanted") {
		t.Errorf("after the DaemonSet: %s", got)
	}
}
