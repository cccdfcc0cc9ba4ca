// Package capture has what policies share: what a plan of theirs is, and the words in
// which they state rules. Each policy is a package below it, and none knows another.
package capture

import "github.com/meshtables/meshtables/iptables"

// Capture is what a namespace has to hold so that its traffic goes through the
// proxy.
type Capture struct {
	// Rules holds nothing that is not ours. Built-in chains contain only jumps into
	// chains of ours.
	Rules   iptables.Plan
	Routing iptables.Routing
	// Warnings tell, one sentence each, which options have no effect on this
	// host.
	Warnings []string
}

// IDs are the users or groups that an option names; of a range the first and the last.
type IDs struct {
	// Option is its name, without dashes.
	Option        string
	Users, Groups []uint32
}
