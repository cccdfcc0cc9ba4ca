package capture

// Decision says whether a policy captures the traffic of a pod, and who writes the rules.
type Decision struct {
	Captured bool
	By       Writer
	// Why is the reason, in words that follow "captured: " or "not captured: ".
	Why string
}

// Writer is who writes a pod's rules.
type Writer int

// The writers. An agent also hands the pod's namespace to a proxy of the node: without that,
// rules cut the pod off.
const (
	Plugin Writer = iota // a plugin of the node, as the pod starts
	ThePod               // an init container of the pod
	Agent                // an agent of the mesh
)

// Decide returns the first policy that captures the traffic of a pod with these annotations,
// or none with the reason of the first. The error names an annotation that cannot be read.
func (all Policies) Decide(annotations map[string]string) (p Policy, d Decision, err error) {
	for _, p := range all {
		own, err := p.Decide(annotations)
		if err != nil || own.Captured {
			return p, own, err
		}
		if d.Why == "" {
			d = own
		}
	}
	return nil, d, nil
}
