// Package capture has what policies share: what a plan is, and the words for stating
// rules. Each policy is a package below it. No policy knows another.
package capture

import "github.com/meshtables/meshtables/iptables"

// Capture is what a namespace has to hold so that its traffic goes through the
// proxy.
type Capture struct {
	// Rules are our rules only. In built-in chains they are only jumps to our own
	// chains.
	Rules   iptables.Plan
	Routing iptables.Routing
	Sysctls []iptables.Sysctl
	// Warnings say which options have no effect on this host, a sentence each.
	Warnings []string
}
