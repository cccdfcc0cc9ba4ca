package nftables_test

import (
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// Not in the package itself, so that kernel can import it.
var _ kernel.Backend = (*nftables.Backend)(nil)
