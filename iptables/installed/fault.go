package installed

// Fault is something wrong with the table or chains that hold our rules, not with the
// rules. Writing rules repairs it, unless it lasts.
type Fault struct {
	// Text is a sentence without full stop, such as "chain OUTPUT has the policy DROP".
	Text string
	// Disables says that no packet reaches our rules.
	Disables bool
	// Lasts says that it is the kernel that is wrong, and writing rules does not help.
	Lasts bool
}

// Disabling returns the first fault that keeps every packet from our rules, if any.
func Disabling(faults []Fault) (f Fault, ok bool) {
	for _, f := range faults {
		if f.Disables {
			return f, true
		}
	}
	return f, false
}

// Texts returns the sentences of faults, or nil.
func Texts(faults []Fault) []string {
	var texts []string
	for _, f := range faults {
		texts = append(texts, f.Text)
	}
	return texts
}
