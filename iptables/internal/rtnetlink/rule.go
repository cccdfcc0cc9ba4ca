package rtnetlink

import (
	"context"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Rule is a policy rule (ip-rule(8)).
type Rule struct {
	Family byte // AF_*
	// Priority is its place among the others. With 0 the kernel chooses it: before all
	// but the first.
	Priority   uint32
	Mark, Mask uint32 // the mark that packets have in the bits of the mask
	Table      uint32 // the routing table that it looks up, or 0
	Action     byte   // FR_ACT_* of linux/fib_rules.h
	Protocol   byte   // RTPROT_* of linux/rtnetlink.h, who made it
	// To is the network that packets go to, and In the interface by which they came in; the
	// zero values for any.
	To netip.Prefix
	In string
	// More says that the rule asks for more than the mark, or does more than the action, and
	// Unknown that it does besides To and In.
	More, Unknown bool
}

// Ends reports whether the rule itself ends the way of packets.
func (r Rule) Ends() bool {
	switch r.Action {
	case unix.FR_ACT_BLACKHOLE, unix.FR_ACT_UNREACHABLE, unix.FR_ACT_PROHIBIT:
		return true
	}
	return false
}

// ruleSize is the size of struct fib_rule_hdr (linux/fib_rules.h).
const ruleSize = 12

// Rules returns the rules of all families, in the kernel's order.
func Rules(ctx context.Context, ns *namespace.Namespace) ([]Rule, error) {
	r := netlink.Request{Kind: unix.RTM_GETRULE, Header: make([]byte, ruleSize)}
	return list(ctx, ns, r, unix.RTM_NEWRULE, decodeRule)
}

// AddRule adds a rule.
func AddRule(ctx context.Context, ns *namespace.Namespace, r Rule) error {
	return changeRule(ctx, ns, unix.RTM_NEWRULE, create, r)
}

// DeleteRule deletes the first rule that is like it. A protocol and a priority that it
// does not have may be any.
func DeleteRule(ctx context.Context, ns *namespace.Namespace, r Rule) error {
	return changeRule(ctx, ns, unix.RTM_DELRULE, remove, r)
}

func changeRule(ctx context.Context, ns *namespace.Namespace, kind, flags uint16, r Rule) error {
	header := make([]byte, ruleSize)
	header[0], header[7] = r.Family, r.Action
	if r.To.IsValid() {
		header[1] = byte(r.To.Bits())
	}
	return tell(ctx, ns, netlink.Request{Kind: kind, Flags: flags, Header: header, Attributes: func(b *netlink.Builder) {
		b.PutNativeUint32(unix.FRA_TABLE, r.Table)
		if r.To.IsValid() {
			b.PutBytes(unix.FRA_DST, r.To.Addr().AsSlice())
		}
		if r.In != "" {
			b.PutString(unix.FRA_IIFNAME, r.In)
		}
		b.PutNativeUint32(unix.FRA_FWMARK, r.Mark)
		b.PutNativeUint32(unix.FRA_FWMASK, r.Mask)
		if r.Priority != 0 {
			b.PutNativeUint32(unix.FRA_PRIORITY, r.Priority)
		}
		// Kernels before 4.17 do not store it.
		if r.Protocol != 0 {
			b.PutBytes(unix.FRA_PROTOCOL, []byte{r.Protocol})
		}
	}})
}

func decodeRule(header, attributes []byte) (Rule, bool) {
	r := Rule{Family: header[0], Table: uint32(header[4]), Action: header[7]}
	destinationBits, sourceBits, tos := header[1], header[2], header[3]
	r.Unknown = sourceBits|tos != 0 || binary.NativeEndian.Uint32(header[8:])&unix.FIB_RULE_INVERT != 0
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.FRA_PRIORITY:
			r.Priority = netlink.ReadNativeUint32(value)
		case unix.FRA_FWMARK:
			r.Mark = netlink.ReadNativeUint32(value)
		case unix.FRA_FWMASK:
			r.Mask = netlink.ReadNativeUint32(value)
		case unix.FRA_TABLE:
			r.Table = netlink.ReadNativeUint32(value)
		case unix.FRA_PROTOCOL:
			if len(value) == 1 {
				r.Protocol = value[0]
			}
		case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
			const none = 1<<32 - 1
			r.Unknown = r.Unknown || netlink.ReadNativeUint32(value) != none
		case unix.FRA_DST:
			if a, ok := netip.AddrFromSlice(value); ok {
				r.To = netip.PrefixFrom(a, int(destinationBits))
			}
		case unix.FRA_IIFNAME:
			r.In = netlink.ReadString(value)
		case unix.FRA_UNSPEC, unix.FRA_PAD:
		default:
			// Newer kernels know more that a rule can ask for than we do.
			r.Unknown = true
		}
	}
	r.More = r.Unknown || destinationBits != 0 || r.In != ""
	return r, true
}
