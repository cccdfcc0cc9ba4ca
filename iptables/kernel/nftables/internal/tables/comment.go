package tables

import "github.com/meshtables/meshtables/iptables/internal/netlink"

// Comment returns a comment as userdata of a rule, as libnftnl writes it: type 0, length,
// text (NFTNL_UDATA_RULE_COMMENT). It has 127 bytes at most.
func Comment(text string) []byte {
	return append(append([]byte{0, byte(len(text) + 1)}, text...), 0)
}

// ReadComment undoes Comment. It returns "" for other userdata.
func ReadComment(userdata []byte) string {
	if len(userdata) < 3 || userdata[0] != 0 {
		return ""
	}
	return netlink.ReadString(userdata[2:])
}
