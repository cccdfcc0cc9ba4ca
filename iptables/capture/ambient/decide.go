package ambient

import "github.com/meshtables/meshtables/iptables/capture"

// redirectionAnnotation is on a pod of the mesh. Istio's agent adds it when it has written the
// rules and handed the pod's network namespace to the proxy.
const redirectionAnnotation = "ambient.istio.io/redirection"

// Decide implements [capture.Policy]: the agent's annotation says it.
func (Policy) Decide(notes map[string]string) (capture.Decision, error) {
	if notes[redirectionAnnotation] == "enabled" {
		return capture.Decision{Captured: true, By: capture.Agent,
			Why: "annotation " + redirectionAnnotation + ` is "enabled": Istio's agent captures the pods of ambient mode. ` +
				"It also hands their namespace to the proxy; rules without that would cut them off"}, nil
	}
	return capture.Decision{Why: "annotation " + redirectionAnnotation + ` is not "enabled": the pod is not in ambient mode`}, nil
}
