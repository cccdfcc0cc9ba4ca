package native

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
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

// readComment undoes commentOf. It ignores comments that are not ours.
func readComment(userdata []byte) (o iptables.Origin, reason string) {
	option, reason, _ := strings.Cut(tables.ReadComment(userdata), beforeReason)
	o, ok := iptables.ParseOrigin(option)
	if !ok {
		return o, ""
	}
	return o, reason
}
