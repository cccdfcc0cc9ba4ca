package tests

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// What docs/debugging.md tells of removal: redirected connections that are open are
// cut, for with the last rule that needs it the kernel stops translating in the pod
// (net/netfilter/nf_conntrack_proto.c, nf_ct_netns_put); with somebody else's rule
// of that kind they go on. So they do where nothing is captured any more.
func TestRemovalAndOpenConnections(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveFlows(t, p)

		apply(t, p)
		open := openConnections(t, p)
		cleanup(t, p)
		for _, o := range open {
			if err := o.conn.Echo("still there"); err == nil {
				t.Errorf("%s: open after removal", o.flow.name)
			}
		}

		apply(t, p)
		open = openConnections(t, p)
		apply(t, p, "--included-ports=", "--included-cidrs=")
		wantStillOpen(t, open)
		cleanup(t, p)

		foreign := strings.Fields("-t nat -A POSTROUTING -p sctp -j MASQUERADE")
		for _, f := range iptables.Families() {
			program(t, p, "", commandOf(backend, f), foreign...)
		}
		apply(t, p)
		open = openConnections(t, p)
		cleanup(t, p)
		wantStillOpen(t, open)
	})
}
