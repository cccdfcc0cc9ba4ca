package ipset

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// From linux/netfilter/ipset/ip_set.h.
const (
	protocol = 6 // IPSET_PROTOCOL_MIN

	// enum ipset_cmd
	commandCreate  = 2
	commandDestroy = 3
	commandList    = 7
	commandAdd     = 9
	commandDelete  = 10

	// Attributes at command level.
	attrProtocol = 1
	attrName     = 2
	attrType     = 3
	attrRevision = 4
	attrFamily   = 5
	attrData     = 7
	attrEntries  = 8 // IPSET_ATTR_ADT
	attrLine     = 9 // also of an entry

	// Attributes of a set or of an entry, and of an address.
	attrAddress     = 1  // IPSET_ATTR_IP
	attrMaxElements = 19 // IPSET_ATTR_MAXELEM
	attrIPv4        = 1
	attrIPv6        = 2
)

// setError is an errno of ipset's own (enum ipset_errno).
type setError unix.Errno

const (
	errPrivate  setError = 4096
	errProtocol setError = 4097
	errFindType setError = 4098
	errMaxSets  setError = 4099
	errBusy     setError = 4100
	errHashFull setError = 4352
)

func (e setError) Error() string {
	switch e {
	case errProtocol:
		return "the set does not take it, such as one for another IP family"
	case errFindType:
		return "the kernel has no sets of the type " + kind
	case errMaxSets:
		return "there are as many sets as there may be"
	case errBusy:
		return "rules or other sets use it"
	case errHashFull:
		return "the set is full"
	}
	return fmt.Sprintf("error %d of ipset", uint(e))
}

// tell makes a change to a set. Of an error it returns the line that the kernel names
// too, or 0.
func tell(ctx context.Context, c *netlink.Conn, command, flags uint16, name string, attributes func(*netlink.Builder)) (line uint32, err error) {
	err = c.Tell(ctx, netlink.Request{
		Kind: unix.NFNL_SUBSYS_IPSET<<8 | command, Flags: flags,
		Attributes: func(b *netlink.Builder) {
			b.PutBytes(attrProtocol, []byte{protocol})
			b.PutString(attrName, name)
			if attributes != nil {
				attributes(b)
			}
		},
	})
	var refusal *netlink.Refusal
	if !errors.As(err, &refusal) {
		return 0, err
	}
	for kind, value := range refusal.Request.Attributes() {
		if kind == attrLine {
			line = netlink.ReadNativeUint32(value)
		}
	}
	if e := setError(refusal.Errno); e >= errPrivate {
		return line, e
	}
	return line, netlink.Reason(err)
}
