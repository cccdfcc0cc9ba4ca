package installed

// Fault is what is wrong with what holds our rules, the rules aside. Writing rules
// repairs it.
type Fault struct {
	// Text is a sentence without its full stop, such as "chain OUTPUT has the
	// policy DROP".
	Text string
	// Disables says that no packet meets any rule of ours.
	Disables bool
}

// Disabling returns the first fault that keeps every packet from our rules, if there is
// one.
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
