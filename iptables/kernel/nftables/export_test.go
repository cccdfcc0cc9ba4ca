package nftables

import "github.com/meshtables/meshtables/iptables/namespace"

// WithoutCompat returns the calling thread's network namespace as that of a kernel that
// has no nft_compat.
func WithoutCompat() *namespace.Namespace { return faultyBackend(withoutCompat()).namespace }
