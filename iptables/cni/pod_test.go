package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// testPod is a pod's namespace, and the plugin on its node, which is the namespace of the
// test.
type testPod struct {
	namespace *namespace.Namespace
	file      string
	// keys are those of the plugin's configuration, and annotations the pod's.
	keys        string
	annotations map[string]string

	stdout, log bytes.Buffer
}

// newTestPod makes a pod with addresses such as 10.244.1.7/24.
func newTestPod(t *testing.T, addresses ...string) *testPod {
	t.Helper()
	nstest.Enter(t)
	ns, err := namespace.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	file, err := ns.File()
	if err != nil {
		t.Fatal(err)
	}
	p := &testPod{namespace: ns, file: fmt.Sprintf("/proc/self/fd/%d", file.Fd())}
	p.run(t, "ip", "link", "set", "lo", "up")
	p.run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer")
	p.run(t, "ip", "link", "set", "eth0", "up")
	for _, a := range addresses {
		p.run(t, "ip", "address", "add", a, "dev", "eth0", "nodad")
	}
	return p
}

// run runs a program in the pod and returns what it printed.
func (p *testPod) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := p.namespace.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// testPolicies are all that there are for pods.
var testPolicies = capture.Policies{sidecar.Policy{}, ambient.Policy{}, linkerd.Policy{}}

// result is what the plugins before return.
const result = `{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.244.1.7/24"}],"theirs":[1]}`

// arguments are those of a call.
func (p *testPod) arguments(t *testing.T) *skel.CmdArgs {
	t.Helper()
	keys := `"prevResult": ` + result
	if p.annotations != nil {
		notes, err := json.Marshal(p.annotations)
		if err != nil {
			t.Fatal(err)
		}
		keys += fmt.Sprintf(`, "runtimeConfig": {%q: %s}`, AnnotationsCapability, notes)
	}
	if p.keys != "" {
		keys += ", " + p.keys
	}
	return &skel.CmdArgs{
		ContainerID: "c0ffee", Netns: p.file, IfName: "eth0", StdinData: entry(keys),
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;K8S_POD_UID=7",
	}
}

// functions returns the commands. What they print goes to the pod's buffers.
func (p *testPod) functions() skel.CNIFuncs {
	p.stdout.Reset()
	p.log.Reset()
	return (&Plugin{Policies: testPolicies, Stdout: &p.stdout, Stderr: &p.log}).Functions()
}

func (p *testPod) add(t *testing.T) error {
	t.Helper()
	return p.functions().Add(p.arguments(t))
}

// objectOf returns the error object of a command.
func objectOf(t *testing.T, err error) *types.Error {
	t.Helper()
	var object *types.Error
	if !errors.As(err, &object) {
		t.Fatalf("want an error object, got %v", err)
	}
	return object
}

// rules returns all that nf_tables has in the pod.
func (p *testPod) rules(t *testing.T) string {
	t.Helper()
	return p.run(t, "nft", "list", "ruleset")
}

// wantLog checks that the log has one line, with these words.
func (p *testPod) wantLog(t *testing.T, words ...string) {
	t.Helper()
	if strings.Count(p.log.String(), "\n") != 1 {
		t.Errorf("want one line:\n%s", &p.log)
	}
	for _, w := range words {
		if !strings.Contains(p.log.String(), w) {
			t.Errorf("%q is missing from\n%s", w, &p.log)
		}
	}
}
