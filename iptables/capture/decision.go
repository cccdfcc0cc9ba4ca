package capture

// Decision says whether a policy captures the traffic of a pod.
type Decision struct {
	Captured bool
	// ByOthers says that the pod's rules are written by others than a plugin of the node: by
	// an init container of the pod, or by an agent of the mesh.
	ByOthers bool
	// Why is the reason, in words that follow "captured: " or "not captured: ".
	Why string
}

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
