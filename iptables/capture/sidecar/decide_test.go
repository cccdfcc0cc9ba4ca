package sidecar

import (
	"maps"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
)

// nativeStatus is what the injector writes if a plugin of the node writes the rules.
const nativeStatus = `{"initContainers":["istio-validation","istio-proxy"],"containers":null}`

func TestDecide(t *testing.T) {
	t.Parallel()
	injected := func(more ...string) map[string]string {
		notes := map[string]string{statusAnnotation: nativeStatus}
		for i := 0; i < len(more); i += 2 {
			notes[more[i]] = more[i+1]
		}
		return notes
	}
	for name, test := range map[string]struct {
		notes map[string]string
		// want is the beginning of the reason, "" if the plugin captures the pod.
		want string
	}{
		"nothing":               {nil, "no annotation sidecar.istio.io/status: "},
		"others":                {map[string]string{"example.org/a": "b"}, "no annotation sidecar.istio.io/status: "},
		"injected":              {injected(), ""},
		"not a native sidecar":  {injected(statusAnnotation, `{"initContainers":["istio-validation"],"containers":["istio-proxy"],"revision":"default"}`), ""},
		"a status with nothing": {injected(statusAnnotation, `{}`), ""},
		"its own init container": {injected(statusAnnotation, `{"initContainers":["istio-init"],"containers":["istio-proxy"]}`),
			"the pod does it by itself: annotation sidecar.istio.io/status lists the init container istio-init"},
		"a status without proxy": {injected(statusAnnotation, `{"initContainers":["grpc-bootstrap-init"],"containers":null}`), "the pod has no proxy: "},
		"opted out":              {injected(injectAnnotation, "false"), `annotation sidecar.istio.io/inject "false": `},
		"opted out in YAML":      {injected(injectAnnotation, "No"), `annotation sidecar.istio.io/inject "No": `},
		"opted in":               {injected(injectAnnotation, "true"), ""},
		"neither in nor out":     {injected(injectAnnotation, "banana"), ""},
		"mode NONE":              {injected(modeAnnotation, "NONE"), `annotation sidecar.istio.io/interceptionMode "NONE": `},
		"another mode":           {injected(modeAnnotation, "TPROXY"), ""},
		"a wrong mode":           {injected(modeAnnotation, "BANANA"), ""},
		"mode NONE among the proxy's settings": {injected(proxyConfigAnnotation, "interceptionMode: NONE\n"),
			`annotation proxy.istio.io/config, interceptionMode "NONE": `},
		"a mode of its own":    {injected(proxyConfigAnnotation, "interceptionMode: NONE", modeAnnotation, "REDIRECT"), ""},
		"a proxy turned off":   {injected(proxyConfigAnnotation, `{"proxyMetadata":{"DISABLE_ENVOY":"true"}}`), `annotation proxy.istio.io/config, proxyMetadata.DISABLE_ENVOY "true": `},
		"a gateway":            {injected(templatesAnnotation, "gateway", statusAnnotation, `{"initContainers":null,"containers":["istio-proxy"]}`), `annotation inject.istio.io/templates "gateway": `},
		"an agent for gRPC":    {injected(templatesAnnotation, "grpc-agent"), `annotation inject.istio.io/templates "grpc-agent": `},
		"a template of theirs": {injected(templatesAnnotation, "mine"), ""},
		"two templates":        {injected(templatesAnnotation, "sidecar, mine"), ""},
	} {
		got, err := Policy{}.Decide(test.notes)
		itself := strings.HasPrefix(test.want, "the pod does it by itself")
		if err != nil || (got.By == capture.ThePod) != itself || (got.Captured && !itself) != (test.want == "") || !strings.HasPrefix(got.Why, test.want) || got.Why == "" {
			t.Errorf("%s: got %+v, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestDecideRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		notes map[string]string
		want  string
	}{
		"no status": {map[string]string{statusAnnotation: "injected"}, `annotation sidecar.istio.io/status "injected": must be what Istio's injector writes, `},
		"no settings": {map[string]string{statusAnnotation: nativeStatus, proxyConfigAnnotation: "proxyMetadata: 1"},
			`annotation proxy.istio.io/config "proxyMetadata: 1": must be YAML or JSON such as `},
	} {
		notes := maps.Clone(test.notes)
		if got, err := (Policy{}).Decide(notes); err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %+v, %v, want %q", name, got, err, test.want)
		}
	}
}
