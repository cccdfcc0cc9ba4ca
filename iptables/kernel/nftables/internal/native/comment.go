package native

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// maxComment is the longest comment that nft itself takes
// (NFTNL_UDATA_COMMENT_MAXLEN in libnftnl/udata.h), its NUL included.
const maxComment = 128

// commentOf returns the option that makes a rule, and the reason if there is one, as in
// "--proxy-uid=1337: the application to itself". A written comment stays: options that
// make the same rules, such as other words for all addresses or another order of ports,
// change nothing, so not the comments either.
func commentOf(r *iptables.Rule) string {
	if r.Reason == "" {
		return r.Origin.Comment(maxComment - 1)
	}
	why := beforeReason + r.Reason
	return r.Origin.Comment(maxComment-1-len(why)) + why
}

// beforeReason is not in any option's value.
const beforeReason = ": "

// commentTLV writes a comment as libnftnl does: type 0, length, text
// (NFTNL_UDATA_RULE_COMMENT).
func commentTLV(s string) []byte {
	return append(append([]byte{0, byte(len(s) + 1)}, s...), 0)
}

// readComment undoes commentTLV of commentOf. It ignores comments that are not ours.
func readComment(userdata []byte) (o iptables.Origin, reason string) {
	if len(userdata) < 3 || userdata[0] != 0 {
		return o, ""
	}
	option, reason, _ := strings.Cut(netlink.ReadString(userdata[2:]), beforeReason)
	o, ok := iptables.ParseOrigin(option)
	if !ok {
		return o, ""
	}
	return o, reason
}
