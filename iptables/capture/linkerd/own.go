package linkerd

import "github.com/meshtables/meshtables/iptables"

// Name is the policy's name, and that of the mesh.
const Name = "linkerd"

// chainPrefix starts the name of every chain of the policy. The reference uses it too, so
// either tool recognises what the other left behind.
const chainPrefix = "PROXY_INIT_"

// commentPrefix starts the comment that the reference adds to each of its rules.
const commentPrefix = "proxy-init/"

// Ownership returns what the policy owns in a network namespace, whether this program or
// the reference made it.
func Ownership() iptables.Ownership {
	return iptables.Ownership{Policies: []string{Name}, Chains: []string{chainPrefix}, Comments: []string{commentPrefix}}
}
