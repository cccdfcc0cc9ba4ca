package cni

import (
	"github.com/meshtables/meshtables/iptables/capture"
)

// Settings are the plugin's entry in the configuration of a network, for whoever has to know
// what the plugin would do with a pod: which pods it captures, and how if their annotations do
// not say.
type Settings struct{ configuration configuration }

// ReadSettings reads an entry. Policies are all that there are.
func ReadSettings(policies capture.Policies, entry []byte) (*Settings, error) {
	c, err := parse(policies, entry)
	if err != nil {
		return nil, err
	}
	return &Settings{c}, nil
}

// Decide says whether the plugin captures the traffic of a pod in that namespace of Kubernetes,
// and by which policy. Annotations are nil if they are not known.
func (s *Settings) Decide(namespace string, annotations map[string]string) (capture.Policy, capture.Decision, error) {
	c := call{configuration: s.configuration, pod: podName{namespace: namespace}}
	c.annotations = annotations
	return c.decide()
}

// Read returns what the annotations of a pod in that namespace of Kubernetes ask for by a policy,
// and warnings.
func (s *Settings) Read(policy capture.Policy, namespace string, annotations map[string]string) (capture.Wanted, []string, error) {
	c := s.configuration
	return c.read(policy, namespace, annotations)
}

// Backend returns where the plugin writes rules, as one of [kernel.Names].
func (s *Settings) Backend() string { return s.configuration.backend }

// Sandboxed returns what the plugin does with pods that have a sandbox.
func (s *Settings) Sandboxed() Sandboxed { return s.configuration.sandboxed }
