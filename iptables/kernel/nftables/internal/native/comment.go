package native

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
)

// maxComment is the longest comment that nft itself takes
// (NFTNL_UDATA_COMMENT_MAXLEN in libnftnl/udata.h), its NUL included.
const maxComment = 128

// commentOf tells which option a rule comes from. It stays what it was when the rule was
// written: options that come to the same rules, such as other words for all addresses or
// another order of ports, change nothing, and so not the comments either.
func commentOf(o iptables.Origin) string { return o.Comment(maxComment - 1) }

// commentTLV writes a comment as libnftnl does: type 0, length, text
// (NFTNL_UDATA_RULE_COMMENT).
func commentTLV(s string) []byte {
	return append(append([]byte{0, byte(len(s) + 1)}, s...), 0)
}

// originOf undoes commentTLV of commentOf.
func originOf(userdata []byte) (o iptables.Origin) {
	if len(userdata) < 3 || userdata[0] != 0 {
		return o
	}
	o, _ = iptables.ParseOrigin(netlink.ReadString(userdata[2:]))
	return o
}
