package compat

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// encodeComment writes, from linux/netfilter/xt_comment.h,
//
//	struct xt_comment_info { char comment[XT_MAX_COMMENT_LEN]; }
//
// with a NUL at the end of the text.
func encodeComment(m iptables.Comment) (extension, error) {
	if err := m.Validate(); err != nil {
		return extension{}, err
	}
	info := make([]byte, iptables.MaxComment+1)
	copy(info, m.Text)
	return newExtension("comment", 0, info), nil
}

func decodeComment(info []byte) iptables.Match {
	return iptables.Comment{Text: netlink.ReadString(info)}
}
