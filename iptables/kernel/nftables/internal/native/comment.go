package native

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// maxComment is the longest comment that nft itself takes
// (NFTNL_UDATA_COMMENT_MAXLEN in libnftnl/udata.h), its NUL included.
const maxComment = 128

// commentOf tells which option a rule comes from, and why if it has a reason, as in
// "--proxy-uid=1337: the application to itself". It stays what it was when the rule was
// written: options that come to the same rules, such as other words for all addresses or
// another order of ports, change nothing, and so not the comments either.
func commentOf(r *iptables.Rule) string {
	if r.Reason == "" {
		return r.Origin.Comment(maxComment - 1)
	}
	why := beforeReason + r.Reason
	return r.Origin.Comment(maxComment-1-len(why)) + why
}

// beforeReason is in no value of an option.
const beforeReason = ": "

// commentTLV writes a comment as libnftnl does: type 0, length, text
// (NFTNL_UDATA_RULE_COMMENT).
func commentTLV(s string) []byte {
	return append(append([]byte{0, byte(len(s) + 1)}, s...), 0)
}

// readComment undoes commentTLV of commentOf. What is no comment of ours says nothing.
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
