package explain

import "github.com/meshtables/meshtables/iptables"

// Proxy is what the proxy's sockets are known by. The zero value is a proxy of which nothing
// is known.
type Proxy struct {
	// Owner owns the sockets; nil if it is not known.
	Owner *iptables.SocketOwner
	// Mark is on all that they send (SO_MARK in socket(7)); 0 for none.
	Mark uint32
}

// Sends returns the packet as the proxy sends it.
func (x Proxy) Sends(p iptables.Packet) iptables.Packet {
	p.Owner, p.Mark = x.Owner, x.Mark
	return p
}
