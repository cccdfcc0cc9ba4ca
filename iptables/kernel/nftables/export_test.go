package nftables

// NewWithoutCompat returns the backends of both forms on a kernel that has no
// nft_compat.
func NewWithoutCompat() (compatible, native *Backend) {
	compatible, native = faultyBackend(withoutCompat()), faultyBackend(withoutCompat())
	native.native = true
	return compatible, native
}
