package sidecar

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// The annotations that say whose traffic is captured. Istio's injector reads all but the
// first, which it writes (api/annotation/annotations.gen.go).
const (
	statusAnnotation    = "sidecar.istio.io/status"
	injectAnnotation    = "sidecar.istio.io/inject"
	templatesAnnotation = "inject.istio.io/templates"
	modeAnnotation      = "sidecar.istio.io/interceptionMode"
)

// The containers that the injector adds (manifests/charts/istio-control/istio-discovery/files
// of Istio). The first is not there if a plugin of the node writes the rules.
const (
	rulesContainer = "istio-init"
	proxyContainer = "istio-proxy"
)

// modeNone is a mode of Istio that captures nothing.
const modeNone = "NONE"

// Decide implements [capture.Policy]: a pod's traffic is captured if Istio's injector has
// given it a proxy. If that is in doubt, it is captured: whoever
// expects a proxy must not run without one.
func (Policy) Decide(notes map[string]string) (capture.Decision, error) {
	not := func(why string) (capture.Decision, error) { return capture.Decision{Why: why}, nil }
	status, marked := notes[statusAnnotation]
	if !marked {
		return not("no annotation " + statusAnnotation + ": Istio's injector has given the pod no sidecar")
	}
	injected, err := parseStatus(status)
	if err != nil {
		return capture.Decision{}, given(statusAnnotation, status).Refuse(err)
	}
	pod, err := parseProxyConfig(notes)
	if err != nil {
		return capture.Decision{}, err
	}
	switch mode := pod.mode(notes); {
	case isOff(notes[injectAnnotation]):
		return not(given(injectAnnotation, notes[injectAnnotation]).String() + ": the pod has opted out")
	case injected.isKnown() && !injected.has(proxyContainer):
		return not("the pod has no proxy: annotation " + statusAnnotation + " does not list the container " + proxyContainer)
	case isNoSidecar(notes[templatesAnnotation]):
		return not(given(templatesAnnotation, notes[templatesAnnotation]).String() + ": the pod's proxy is no sidecar")
	case pod.isDisabled():
		return not(pod.given("proxyMetadata."+disableVariable, pod.Metadata[disableVariable]).String() + ": the pod has no proxy")
	case mode.Text == modeNone:
		return not(mode.String() + ": the pod has asked for that")
	case injected.has(rulesContainer):
		return capture.Decision{Captured: true, By: capture.ThePod,
			Why: "the pod does it by itself: annotation " + statusAnnotation + " lists the init container " + rulesContainer}, nil
	}
	return capture.Decision{Captured: true, Why: "Istio's injector has given the pod a sidecar"}, nil
}

// given is an annotation as messages name it.
func given(key, text string) config.Given {
	return config.Given{Authority: config.ByAnnotation, Source: "annotation " + key, Text: text}
}

// status is what the injector says that it added (SidecarInjectionStatus in
// pkg/kube/inject/inject.go of Istio).
type status struct{ InitContainers, Containers []string }

func parseStatus(text string) (s status, err error) {
	if json.Unmarshal([]byte(text), &s) != nil {
		return s, errors.New(`must be what Istio's injector writes, such as {"initContainers":["istio-validation","istio-proxy"],"containers":null}`)
	}
	return s, nil
}

// isKnown reports whether the status lists anything.
func (s status) isKnown() bool { return len(s.InitContainers)+len(s.Containers) > 0 }

// has reports whether the injector added a container. A proxy that is a native sidecar is
// among the init containers.
func (s status) has(name string) bool {
	return slices.Contains(s.InitContainers, name) || slices.Contains(s.Containers, name)
}

// isOff reports whether the injector reads a text as no (pkg/kube/inject/inject.go, which
// reads YAML's words for it).
func isOff(text string) bool {
	return slices.Contains([]string{"false", "f", "0", "no", "n", "off"}, strings.ToLower(text))
}

// isNoSidecar reports whether the injector was told to add another proxy than a sidecar: that
// of a gateway, or an agent without a proxy. Their own connections would be sent to ports at
// which nobody listens.
func isNoSidecar(templates string) bool {
	for name := range strings.SplitSeq(templates, ",") {
		switch strings.TrimSpace(name) {
		case "sidecar":
			return false
		case "gateway", "grpc-agent", "grpc-simple", "waypoint":
			return true
		}
	}
	return false
}
