package cni

import (
	"maps"
	"strings"
	"testing"
)

// signed are annotations of a pod that is captured, with another.
func signed(key, value string) map[string]string {
	all := maps.Clone(marked())
	all[key] = value
	return all
}

// A pod that says that it has a sandbox does not start, unless the entry says something else.
func TestSandboxed(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	const reach = "the pod has a sandbox with a network stack of its own, which rules in its network namespace do not reach"
	for _, sign := range []struct {
		key, value string
		no         bool
	}{
		{key: "dev.gvisor.spec.rootfs.overlay", value: "memory"},
		{key: "io.katacontainers.config.hypervisor.default_vcpus", value: "2"},
		{key: "io.containerd.cri.runtime-handler", value: "kata-qemu"},
		{key: "io.containerd.cri.runtime-handler", value: "runsc"},
		{key: "io.containerd.cri.runtime-handler", value: "gvisor"},
		{key: "io.kubernetes.cri.untrusted-workload", value: "true"},
		{key: "meshtables.github.io/sandboxed", value: "true"},
		{key: "meshtables.github.io/sandboxed", value: "false", no: true},
		{key: "io.containerd.cri.runtime-handler", value: "runc", no: true},
		{key: "io.kubernetes.cri.untrusted-workload", value: "false", no: true},
		{key: "dev.gvisors", value: "x", no: true},
	} {
		name := sign.key + " " + sign.value
		p.annotations = signed(sign.key, sign.value)
		for _, keys := range []string{"", `"sandboxed": "fail"`} {
			p.keys = keys
			err := p.add(t)
			if sign.no {
				if err != nil || p.rules(t) == "" {
					t.Errorf("%s: %v", name, err)
				}
				p.wantLog(t, `msg="captured: `)
				continue
			}
			object := objectOf(t, err)
			want := "annotation " + sign.key + ` "` + sign.value + `": ` + reach
			if object.Code != codeSandboxed || object.Msg != want || !strings.Contains(object.Details, `set "sandboxed" to "skip" or "capture" in the plugin's entry`) {
				t.Errorf("%s: %+v", name, object)
			}
			if p.stdout.Len() > 0 || p.rules(t) != "" {
				t.Errorf("%s: printed %s\n%s", name, &p.stdout, p.rules(t))
			}
			if object := objectOf(t, p.functions().Check(p.arguments(t))); object.Code != codeSandboxed {
				t.Errorf("%s: CHECK: %+v", name, object)
			}
		}
		if sign.no {
			p.run(t, "nft", "flush", "ruleset")
			continue
		}
		p.keys = `"sandboxed": "skip"`
		if err := p.add(t); err != nil || p.stdout.String() != result || p.rules(t) != "" {
			t.Errorf("%s: skip: %v, %s\n%s", name, err, &p.stdout, p.rules(t))
		}
		p.wantLog(t, "not captured: annotation "+sign.key, `and sandboxed is \"skip\"`)
		p.keys = `"sandboxed": "capture"`
		if err := p.add(t); err != nil || p.stdout.String() != result || p.rules(t) == "" {
			t.Errorf("%s: capture: %v, %s\n%s", name, err, &p.stdout, p.rules(t))
		}
		p.wantLog(t, `msg="captured: `, `but sandboxed is \"capture\"`)
		p.run(t, "nft", "flush", "ruleset")
	}
}

// Of a pod that the plugin does not capture it does not matter.
func TestSandboxedElsewhere(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	for name, annotations := range map[string]map[string]string{
		"outside":        {"dev.gvisor.flag.debug": "true"},
		"init container": {"dev.gvisor.flag.debug": "true", "sidecar.istio.io/status": `{"initContainers":["istio-init"],"containers":["istio-proxy"]}`},
	} {
		p.annotations = annotations
		if err := p.add(t); err != nil || p.rules(t) != "" {
			t.Errorf("%s: %v\n%s", name, err, p.rules(t))
		}
	}
	p.annotations = signed("meshtables.github.io/sandboxed", "yes")
	object := objectOf(t, p.add(t))
	if object.Code != codeAnnotations || object.Msg != `annotation meshtables.github.io/sandboxed "yes": must be true or false` {
		t.Errorf("got %+v", object)
	}
}
