package cni

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
)

// marked are annotations that the injector writes.
func marked() map[string]string {
	return map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-validation","istio-proxy"],"containers":null}`}
}

// The rules are there after ADD, the same after another, and stay after DEL. The result is
// what the plugins before returned, to the letter.
func TestCommands(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations = marked()
	for _, want := range []string{"result=applied", "result=unchanged"} {
		if err := p.add(t); err != nil || p.stdout.String() != result {
			t.Fatalf("got %v, %s", err, &p.stdout)
		}
		p.wantLog(t, `msg="captured: Istio's injector has given the pod a sidecar"`, "pod=shop/cart-0", "container=c0ffee", want, "rules=18", "families=IPv4")
	}
	rules := p.rules(t)
	for name, command := range map[string]func(*skel.CmdArgs) error{
		"CHECK": p.functions().Check, "DEL": p.functions().Del, "GC": p.functions().GC, "STATUS": p.functions().Status,
	} {
		if err := command(p.arguments(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := p.rules(t); after != rules {
		t.Errorf("before\n%safter\n%s", rules, after)
	}
}

// Where nothing is captured nothing is written, and the log says why.
func TestNotCaptured(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	optedOut := marked()
	optedOut["sidecar.istio.io/inject"] = "false"
	for name, test := range map[string]struct {
		annotations map[string]string
		keys, why   string
	}{
		"not injected":           {map[string]string{}, "", "not captured: no annotation sidecar.istio.io/status"},
		"opted out":              {optedOut, "", `not captured: annotation sidecar.istio.io/inject \"false\": the pod has opted out`},
		"an excluded namespace":  {marked(), `"excludeNamespaces": ["bank", "shop"]`, "not captured: the namespace shop is among excludeNamespaces"},
		"excluded, without":      {nil, `"excludeNamespaces": ["shop"]`, "not captured: the namespace shop is among excludeNamespaces"},
		"skip, with annotations": {map[string]string{}, `"withoutAnnotations": "skip"`, "not captured: no annotation sidecar.istio.io/status"},
		"ambient": {map[string]string{"ambient.istio.io/redirection": "enabled"}, "",
			"It also hands their namespace to the proxy; rules without that would cut them off"},
		"its own init container": {map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-init"],"containers":["istio-proxy"]}`}, "",
			"not captured: the pod does it by itself"},
		"skip": {nil, `"withoutAnnotations": "skip"`, `not captured: the runtime hands over no annotations, and withoutAnnotations is \"skip\"`},
	} {
		p.annotations, p.keys = test.annotations, test.keys
		err := p.add(t)
		if err != nil || p.stdout.String() != result || p.rules(t) != "" {
			t.Errorf("%s: %v, %s\n%s", name, err, &p.stdout, p.rules(t))
		}
		p.wantLog(t, test.why)
		if err := p.functions().Check(p.arguments(t)); err != nil {
			t.Errorf("%s: CHECK: %v", name, err)
		}
	}
	p.annotations, p.keys = nil, `"withoutAnnotations": "capture", "options": {"excluded-ports": "7"}`
	if err := p.add(t); err != nil || !strings.Contains(p.rules(t), "dport 7 ") {
		t.Errorf("capture: %v\n%s", err, p.rules(t))
	}
	p.wantLog(t, `captured: the runtime hands over no annotations, and withoutAnnotations is \"capture\"`)
}

// Whatever fails, nothing is printed but an error object, which says what is wrong, and
// nothing is left.
func TestRefuses(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	for name, test := range map[string]struct {
		annotations map[string]string
		keys        string
		change      func(*skel.CmdArgs)
		code        uint
		message     string
		details     string
	}{
		"without annotations": {nil, "", nil, codeNoAnnotations, "the container runtime hands over no annotations of the pod, so nobody can tell whether it has a proxy",
			"the plugin's entry asks for them; the runtime has to know the capability io.kubernetes.cri.pod-annotations: containerd 1.5, CRI-O 1.28, or later; " +
				`or set "withoutAnnotations" to "skip" or "capture"`},
		"a wrong setting": {map[string]string{}, `"options": {"mode": "x"}`, nil, codeConfiguration, `options.mode "x": must be REDIRECT or TPROXY`, ""},
		"no result":       {marked(), `"prevResult": null`, nil, codeConfiguration, "prevResult: is missing", "this plugin has to come after the one that makes the pod's interface, in the plugins of one conflist"},
		"a wrong result":  {marked(), `"prevResult": []`, nil, codeConfiguration, "prevResult: must be a result: json: cannot unmarshal array into Go value of type struct", ""},
		"no namespace": {marked(), "", func(args *skel.CmdArgs) { args.Netns = "/run/netns/none" }, codeNamespace,
			`CNI_NETNS "/run/netns/none": must be a process id or the file of a network namespace: no such file or directory`, ""},
		"its own namespace": {marked(), "", func(args *skel.CmdArgs) { args.Netns = "/proc/thread-self/ns/net" }, codeNamespace,
			`CNI_NETNS "/proc/thread-self/ns/net": must not be the network namespace of the plugin itself`, ""},
	} {
		p.annotations, p.keys = test.annotations, test.keys
		args := p.arguments(t)
		if test.change != nil {
			test.change(args)
		}
		object := objectOf(t, p.functions().Add(args))
		if object.Code != test.code || !strings.HasPrefix(object.Msg, test.message) || test.details != "" && object.Details != test.details {
			t.Errorf("%s: got %+v", name, object)
		}
		if p.stdout.Len() > 0 || p.rules(t) != "" {
			t.Errorf("%s: printed %s\n%s", name, &p.stdout, p.rules(t))
		}
		p.wantLog(t, "level=ERROR", fmt.Sprintf("code=%d", test.code))
	}
}

// DEL succeeds whatever is there or not.
func TestDelete(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]*skel.CmdArgs{
		"no namespace":            {ContainerID: "c", IfName: "eth0", StdinData: entry("")},
		"a namespace that is not": {Netns: "/run/netns/none", StdinData: entry("")},
		"a wrong configuration":   {StdinData: entry(`"banana": 1`)},
	} {
		if err := (&Plugin{}).Functions().Del(args); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// CHECK says what differs.
func TestCheck(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations = marked()
	if err := p.add(t); err != nil {
		t.Fatal(err)
	}
	p.run(t, "iptables-nft", "-t", "nat", "-D", "ISTIO_INBOUND", "1")
	p.run(t, "iptables-nft", "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "-j", "ACCEPT")
	object := objectOf(t, p.functions().Check(p.arguments(t)))
	if object.Code != codeDifferent || object.Msg != "the rules are not as the pod's annotations ask for (iptables-nft)" {
		t.Errorf("got %+v", object)
	}
	for _, want := range []string{"IPv4 nat ISTIO_INBOUND + 1: -p tcp -m tcp --dport 15008 -j RETURN", "IPv4 in, tcp: exempted by foreign rule 1 of nat PREROUTING: -p tcp -j ACCEPT"} {
		if !strings.Contains(object.Details, want) {
			t.Errorf("%q is missing from %s", want, object.Details)
		}
	}
	p.run(t, "nft", "flush", "ruleset")
	if object := objectOf(t, p.functions().Check(p.arguments(t))); object.Code != codeDifferent {
		t.Errorf("without rules: %+v", object)
	}
}

// Messages go to the file, a line for each call, and to stderr if that cannot be opened.
func TestLogFile(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations = map[string]string{}
	file := filepath.Join(t.TempDir(), "log")
	p.keys = fmt.Sprintf(`"logFile": %q`, file)
	for range 2 {
		if err := p.add(t); err != nil || p.log.Len() > 0 {
			t.Fatalf("%v, %s", err, &p.log)
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "not captured: ") != 2 || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%v, %s", err, text)
	}
	p.keys = `"logFile": "/nowhere/log"`
	if err := p.add(t); err != nil || !strings.Contains(p.log.String(), "logFile: messages are on stderr: open /nowhere/log: no such file or directory") ||
		!strings.Contains(p.log.String(), "not captured: ") {
		t.Errorf("%v, %s", err, &p.log)
	}
	p.keys = `"logLevel": "warn"`
	if err := p.add(t); err != nil || p.log.Len() > 0 {
		t.Errorf("%v, %s", err, &p.log)
	}
}

// A result of another version is converted; one of the asked version is left as it is.
func TestResult(t *testing.T) {
	t.Parallel()
	const old = `{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0"}], "ips": [{"version": "4", "interface": 0, "address": "10.244.1.7/24"}], "dns": {}}`
	for name, test := range map[string]struct{ version, previous, want string }{
		"the same":      {"0.4.0", old, old},
		"not said":      {"1.0.0", `{ "a" : 1 }`, `{ "a" : 1 }`},
		"a newer one":   {"1.1.0", old, `"cniVersion": "1.1.0"`},
		"an older one":  {"0.2.0", old, `"cniVersion": "0.2.0"`},
		"not a version": {"1.1.0", `{"cniVersion": "9.0.0"}`, ""},
	} {
		c := configuration{version: test.version, previous: []byte(test.previous)}
		got, err := c.result()
		if !strings.Contains(string(got), test.want) || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}
