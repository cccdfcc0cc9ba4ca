package e2e

import (
	"cmp"
	"net/netip"

	"github.com/meshtables/meshtables/tests/lab"
)

// proxy is what a mesh's proxies are like, as far as rules depend on it.
type proxy struct {
	// arguments are those that the mesh gives its init container.
	arguments []string
	user      lab.Socket
	// inbound and outbound are the ports that connections are redirected to.
	inbound, outbound uint16
	// source is where it connects to the application from. If it is the zero Addr, that is
	// the pod's own address.
	source lab.Addr
}

// istio is Istio's, by the default of every option.
var istio = proxy{
	user:    lab.Socket{As: lab.Identity{UID: 1337, GID: 1337}},
	inbound: 15006, outbound: 15001,
	source: lab.Addr{V4: netip.MustParseAddr("127.0.0.6"), V6: netip.MustParseAddr("::6")},
}

// linkerd is Linkerd's. The arguments are its injector's for a cluster with IPv6 and a pod
// whose annotations let ports go by; their names are all that says which mesh it is.
var linkerd = proxy{
	arguments: []string{
		"--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140", "--proxy-uid", "2102",
		"--inbound-ports-to-ignore", "4190,4191,4567,4568,9300-9400", "--outbound-ports-to-ignore", "4567,4568",
	},
	user:    lab.Socket{As: lab.Identity{UID: 2102, GID: 2102}},
	inbound: 4143, outbound: 4140,
}

// source returns where the pod's sidecar connects to the application from.
func (p *pod) source() lab.Addr { return cmp.Or(p.proxy.source, p.addr) }
