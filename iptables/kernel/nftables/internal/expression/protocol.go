package expression

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// ProtocolNumber returns the number of a protocol, given by name or number.
func ProtocolNumber(p iptables.Protocol) (byte, error) {
	n, ok := p.Number()
	if !ok {
		return 0, fmt.Errorf("the protocol %q cannot be matched", p)
	}
	return n, nil
}
