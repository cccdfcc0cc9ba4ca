package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPlugin has the CNI plugin on the node, put there by its DaemonSet, and makes pods as
// clusters do. Everything is asked of kubectl.
func TestPlugin(t *testing.T) {
	c := newCluster(t)
	serveOutside(t, c)
	c.do(t, "apply", "-k", example(t, "cni-validation", "early", "commonAnnotations:\n  "+injected+"\n"))
	c.held(t, "app=early", "meshtables-validation")
	before := c.pods(t, "app=early")[0].Metadata.Name
	c.applyFolder(t, "cni", "")
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	c.apply(t, fmt.Sprintf(shop, 30))
	c.rolledOut(t, "deployment/shop")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"thirty pods", func(t *testing.T, c *cluster) { c.wantCaptured(t, "app=shop", true) }},
		{"a pod from before", func(t *testing.T, c *cluster) { c.goesOn(t, "early", before) }},
		{"a service", service},
		{"opted out", optedOut},
		{"a wrong annotation", wrongAnnotation},
		{"users by namespace", usersByNamespace},
		{"without the API server", withoutAPIServer},
		{"an upgrade", upgrade},
		{"a reboot", reboot},
		{"uninstalled", uninstall},
	} {
		// One changes what the next begins with.
		if !t.Run(test.name, func(t *testing.T) { test.run(t, c) }) {
			t.Log(c.troubles(t))
			break
		}
	}
}

// held waits until the validation container of a pod with a label waits for rules.
func (c *cluster) held(t *testing.T, label, container string) {
	t.Helper()
	eventually(t, func() error {
		says, err := c.Kubectl(t.Context(), "logs", "-l", label, "-c", container)
		if err == nil && !strings.Contains(says, "connections went to the wrong place; trying again for up to 2m0s") {
			err = fmt.Errorf("%s says %q", container, says)
		}
		return err
	})
}

// goesOn waits until the pod of a Deployment in deploy/example that has started without the plugin
// is ready. It is the same pod as before, and it is captured.
func (c *cluster) goesOn(t *testing.T, name, before string) {
	t.Helper()
	c.rolledOut(t, "deployment/"+name+"-example")
	if now := c.pods(t, "app="+name)[0].Metadata.Name; now != before {
		t.Errorf("%s has taken the place of %s", now, before)
	}
	c.wantCaptured(t, "app="+name, true)
	c.saysMissed(t, "default/"+before)
}

// saysMissed wants the DaemonSet to say that it has captured a pod.
func (c *cluster) saysMissed(t *testing.T, pod string) {
	t.Helper()
	if said := c.do(t, "logs", "-n", "meshtables", "-l", "app=meshtables-cni", "--tail=-1"); !strings.Contains(said, "captured "+pod+", which had started without the plugin: applied ") {
		t.Errorf("the DaemonSet says %s", said)
	}
}

func serveOutside(t *testing.T, c *cluster) {
	t.Helper()
	if err := c.StartWorkload(t.Context(), workload, outsideServer); err != nil {
		t.Fatal(err)
	}
}

// injected is the annotation by which Istio's injector says that it has added a sidecar.
const injected = `sidecar.istio.io/status: '{"initContainers":["istio-proxy"],"containers":null}'`

// shop is a Deployment of pods with a sidecar and with probes of every kind, and its Service.
const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}
      annotations:
        ` + injected + `
    spec:
      ` + containers + `
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080}]
`

// containers are those of a pod: a proxy and an application, with probes.
const containers = `terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      initContainers:
      - name: proxy
        image: registry.example/proxy:test
        args: [proxy]
        restartPolicy: Always
        securityContext: {runAsUser: 1337, runAsGroup: 1337}
        startupProbe: {httpGet: {port: 15021}, periodSeconds: 1, failureThreshold: 120}
      containers:
      - name: application
        image: registry.example/application:test
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
        startupProbe: {httpGet: {port: 8080}, periodSeconds: 1, failureThreshold: 120}
        readinessProbe: {tcpSocket: {port: 7070}, timeoutSeconds: 10}
        livenessProbe: {exec: {command: [/program, ready]}, timeoutSeconds: 20, periodSeconds: 30}`

// service asks for the pods by the addresses of their Service, of both families: the proxy of
// the one that asks passes it on, kube-proxy translates it, and the proxy of the one that
// answers takes it.
func service(t *testing.T, c *cluster) {
	name := c.pods(t, "app=shop")[0].Metadata.Name
	addresses := strings.Fields(c.do(t, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIPs[*]}"))
	if len(addresses) != 2 {
		t.Fatalf("the service has %q", addresses)
	}
	for i, server := range []string{addresses[0] + ":80", "[" + addresses[1] + "]:80"} {
		answer := c.wantOutbound(t, name, server, true)
		if want := []string{"sees 127.0.0.6", "sees ::6"}[i]; !strings.HasPrefix(answer, "shop-") || !strings.Contains(answer, want) {
			t.Errorf("%s answers %q, want %s", server, answer, want)
		}
	}
}

// single is a pod of a name, with more annotations.
func single(name string, annotations ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %s
  labels: {app: %[1]s}
  annotations:
    %s
spec:
      `+containers, name, strings.Join(append([]string{injected}, annotations...), "\n    "))
}

func optedOut(t *testing.T, c *cluster) {
	c.apply(t, single("opted-out", `sidecar.istio.io/inject: "false"`))
	c.do(t, "wait", "--for=condition=Ready", "pod/opted-out", "--timeout="+patience.String())
	c.wantCaptured(t, "app=opted-out", false)
}

// wrongAnnotation wants a pod with a wrong annotation not to start, and kubectl to say why.
func wrongAnnotation(t *testing.T, c *cluster) {
	const want = `annotation sidecar.istio.io/interceptionMode "BOTH": must be REDIRECT or TPROXY`
	c.apply(t, single("wrong", "sidecar.istio.io/interceptionMode: BOTH"))
	eventually(t, func() error {
		if says := c.do(t, "describe", "pod", "wrong"); !strings.Contains(says, want) {
			return errors.New(says)
		}
		return nil
	})
	if phase := c.do(t, "get", "pod", "wrong", "-o", "jsonpath={.status.phase}"); phase != "Pending" {
		t.Errorf("the pod is %s", phase)
	}
	c.do(t, "delete", "pod", "wrong", "--wait=false")
}

// withoutAPIServer ends pods behind the kubelet's back while there is no API server. The
// kubelet starts them again, and they are captured.
func withoutAPIServer(t *testing.T, c *cluster) {
	before := c.pods(t, "app=shop")
	if err := c.StopAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended, err := c.EndSandboxes(t.Context(), "shop-", 10)
	if err == nil {
		err = c.AwaitSandboxes(t.Context(), "shop-", len(before), ended)
	}
	verified := c.wantVerified(t, "shop-")
	if err := errors.Join(err, c.StartAPIServer(context.WithoutCancel(t.Context()))); err != nil {
		t.Fatal(err)
	}
	if verified != len(before) {
		t.Errorf("%d pods run without the API server, want %d", verified, len(before))
	}
	c.rolledOut(t, "deployment/shop")
	c.wantCaptured(t, "app=shop", true)
}

// wantVerified compares the rules of every pod that runs with what they were applied with, and
// returns how many there are.
func (c *cluster) wantVerified(t *testing.T, prefix string) int {
	t.Helper()
	files, err := c.NetworkFiles(t.Context(), prefix)
	if err != nil {
		t.Error(err)
	}
	for name, file := range files {
		if out, err := c.Run(t.Context(), c.Plugins()+"/meshtables", "verify", "--network-namespace", file); err != nil || !strings.Contains(out, "compared with what was asked for") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	return len(files)
}

// upgrade changes the DaemonSet while pods start.
func upgrade(t *testing.T, c *cluster) {
	restarted := make(chan error, 1)
	go func() {
		_, err := c.Kubectl(t.Context(), "rollout", "restart", "deployment/shop")
		restarted <- err
	}()
	for i := range 3 {
		c.applyFolder(t, "cni", fmt.Sprintf(`
patches:
- target: {kind: DaemonSet, name: meshtables-cni}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --excluded-outbound-ports=%d}
`, 7000+i))
		c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	c.rolledOut(t, "deployment/shop")
	c.wantCaptured(t, "app=shop", true)
	c.wantVerified(t, "shop-")
	c.apply(t, single("after-upgrade"))
	c.do(t, "wait", "--for=condition=Ready", "pod/after-upgrade", "--timeout="+patience.String())
	if chain := c.readChain(t); !strings.Contains(chain, "7002") {
		t.Errorf("the entry is not that of the last upgrade:\n%s", chain)
	}
}

func (c *cluster) readChain(t *testing.T) string {
	t.Helper()
	text, err := c.Run(t.Context(), "cat", "/etc/cni/net.d/10-pods.conflist")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reboot turns the node off and on again. Nothing that runs then is uncaptured.
func reboot(t *testing.T, c *cluster) {
	before := len(c.pods(t, "app=shop"))
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	serveAgain := time.Now()
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	serveOutside(t, c)
	if err := c.AwaitSandboxes(t.Context(), "shop-", before, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("after %v all run again", time.Since(serveAgain))
	if n := c.wantVerified(t, "shop-"); n != before {
		t.Errorf("%d pods run, want %d", n, before)
	}
	eventually(t, func() error {
		_, err := c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod", "-l", "app=shop", "--timeout=5s")
		return err
	})
	c.wantCaptured(t, "app=shop", true)
}

// uninstall takes the plugin off the node, as deploy/README.md says. Pods that run stay
// captured, others are not. The program stays until the pods have ended that were started with
// it, and then the DaemonSet is ready.
func uninstall(t *testing.T, c *cluster) {
	c.applyFolder(t, "cni-uninstall", "")
	eventually(t, func() error {
		if chain := c.readChain(t); strings.Contains(chain, "meshtables") {
			return errors.New(chain)
		}
		return nil
	})
	c.wantCaptured(t, "app=shop", true)
	c.apply(t, single("later"))
	c.do(t, "wait", "--for=condition=Ready", "pod/later", "--timeout="+patience.String())
	c.wantCaptured(t, "app=later", false)
	eventually(t, func() error {
		said := c.do(t, "logs", "-n", "meshtables", "-l", "app=meshtables-cni")
		if !strings.Contains(said, "stays until the pods that need it have ended: ") {
			return errors.New(said)
		}
		return nil
	})
	if _, err := c.Run(t.Context(), "ls", "/opt/cni/bin/meshtables"); err != nil {
		t.Errorf("the program: %v", err)
	}
	if ready := c.do(t, "get", "daemonset", "meshtables-cni", "-n", "meshtables", "-o", "jsonpath={.status.numberReady}"); ready != "0" {
		t.Errorf("%s are ready", ready)
	}
	c.do(t, "delete", "pods", "--all", "--wait=true")
	c.rolledOut(t, "deployment/shop")
	c.wantCaptured(t, "app=shop", false)
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	if _, err := c.Run(t.Context(), "ls", "/opt/cni/bin/meshtables"); err == nil {
		t.Error("the program is still there")
	}
	c.do(t, "delete", "-k", overlay(t, "cni-uninstall", ""))
}
