package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// operator are the settings of an installation of Istio: with this project's image for the
// rules and the tests' stand-in for the proxy. The component cni is what Helm's value
// pilot.cni.enabled is to istioctl.
const operator = `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: minimal
  meshConfig: {defaultConfig: {proxyMetadata: {MESHTABLES_WAIT: 2m}}}
  values:
    global:
      proxy_init: {image: "` + meshtablesImage + ":" + imageTag + `"}
      proxy: {image: "registry.example/proxy:` + imageTag + `"}
  components: {cni: {enabled: %t}}
`

// application is a pod as its owner writes it.
const application = `
apiVersion: v1
kind: Pod
metadata:
  name: %s
  labels: {app: %[1]s}
  annotations:
    sidecar.istio.io/rewriteAppHTTPProbers: "false"
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: application
    image: registry.example/application:test
    securityContext: {runAsUser: 1000}
    readinessProbe: {httpGet: {port: 8080}}
`

// TestIstio makes pods as Istio's injector makes them: with the init container istio-init, and
// for a node with the plugin with istio-validation, which waits if the plugin comes late. Both are this project's image, which gets
// the arguments that Istio gives.
func TestIstio(t *testing.T) {
	c := newCluster(t)
	serveOutside(t, c)
	// A proxy of Istio mounts it.
	c.do(t, "create", "configmap", "istio-ca-root-cert", "--from-literal=root-cert.pem=")
	for _, test := range []struct {
		name, container, says string
		plugin, early         bool
	}{
		{"init", "istio-init", "\napplied: 36 rules for IPv4 and IPv6, by iptables-nft\n", false, false},
		{"early", "istio-validation", "\npassed   proxy to application IPv6: ", true, true},
		{"plugin", "istio-validation", "\npassed   proxy to application IPv6: ", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			injected := inject(t, fmt.Sprintf(application, test.name), test.plugin)
			if test.early {
				c.apply(t, injected)
				c.held(t, "app="+test.name, test.container)
			}
			if test.plugin {
				c.applyFolder(t, "cni", "")
				c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
			}
			c.apply(t, injected)
			if out, err := c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod/"+test.name, "--timeout="+patience.String()); err != nil {
				t.Fatalf("%v\n%s\n%s\n%s", err, out, c.do(t, "describe", "pod", test.name), injected)
			}
			image := c.do(t, "get", "pod", test.name, "-o", `jsonpath={.spec.initContainers[?(@.name=="`+test.container+`")].image}`)
			if image != meshtablesImage+":"+imageTag {
				t.Errorf("%s runs %q", test.container, image)
			}
			// Not all options of istio-iptables have a meaning here.
			if log := c.do(t, "logs", test.name, "-c", test.container); !strings.Contains(log, test.says) {
				t.Errorf("%s says %s", test.container, log)
			}
			in := c.do(t, "get", "--raw", "/api/v1/namespaces/default/pods/"+test.name+":8080/proxy/")
			if !strings.Contains(in, "sees 127.0.0.6") {
				t.Errorf("in: %q", in)
			}
			c.do(t, "exec", test.name, "-c", "application", "--", "/program", "ask", "http://"+outsideServer+"/")
			if log := c.do(t, "logs", test.name, "-c", "istio-proxy"); !strings.Contains(log, "outbound to "+outsideServer+" ") {
				t.Errorf("the proxy says\n%s", log)
			}
		})
	}
}

// inject returns a manifest as Istio's injector changes it.
func inject(t *testing.T, manifest string, plugin bool) string {
	t.Helper()
	istioctl := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(programsVariable), "istioctl"), args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("istioctl %q: %v\n%s", args, err, &stderr)
		}
		return out
	}
	files := map[string]string{}
	decoder := yaml.NewDecoder(bytes.NewReader(istioctl("manifest", "generate", "-f", writeFile(t, "operator.yaml", fmt.Sprintf(operator, plugin)))))
	for {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if object.Kind == "ConfigMap" {
			for key, text := range object.Data {
				files[object.Metadata.Name+"/"+key] = writeFile(t, key, text)
			}
		}
	}
	return string(istioctl("kube-inject", "--revision=default", "-f", writeFile(t, "pod.yaml", manifest),
		"--injectConfigFile", files["istio-sidecar-injector/config"], "--valuesFile", files["istio-sidecar-injector/values"], "--meshConfigFile", files["istio/mesh"]))
}
