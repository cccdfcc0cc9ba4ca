package explain

import "github.com/meshtables/meshtables/iptables"

// Packet and Owner are those of the model.
type (
	Packet = iptables.Packet
	Owner  = iptables.SocketOwner
)
