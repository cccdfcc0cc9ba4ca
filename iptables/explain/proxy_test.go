package explain_test

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// What the proxy sends has its owner and its mark, and no others.
func TestProxySends(t *testing.T) {
	t.Parallel()
	owner := &iptables.SocketOwner{UID: 1337, GID: 1337}
	for _, proxy := range []explain.Proxy{{}, {Owner: owner}, {Owner: owner, Mark: 0x539}} {
		p := packet()
		p.Mark = 7
		if sent := proxy.Sends(p); sent.Owner != proxy.Owner || sent.Mark != proxy.Mark {
			t.Errorf("%+v: sends %+v", proxy, sent)
		}
	}
}
