package compat

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// ruleDecoder reads the expressions of one rule.
type ruleDecoder struct{ expression.Decoder }

// decodeRule reads a rule that any iptables-nft, or this package, wrote. What it cannot
// read becomes an UnknownMatch or UnknownTarget with the bytes, so that different rules
// never read alike.
func decodeRule(family iptables.Family, exprs []expression.Expression) iptables.Rule {
	d := ruleDecoder{expression.Decoder{Family: family, Rest: exprs}}
	for len(d.Rest) > 0 {
		if d.Rule.Target != nil {
			// Nothing may follow a target.
			d.Unknown()
			continue
		}
		if !d.Condition() && !d.Counter() && !d.match() && !d.Verdict() && !d.target() {
			d.Unknown()
		}
	}
	d.UnknownTarget()
	return d.Rule
}

func (d *ruleDecoder) match() bool {
	x, ok := readExtension(d.Rest[0], "match")
	if !ok {
		return false
	}
	m, ok := decodeMatch(x)
	if ports, isPorts := m.(iptables.Ports); isPorts && d.Rule.Protocol != (iptables.ProtocolMatch{Protocol: ports.Protocol}) {
		ok = false
	}
	if !ok {
		m = iptables.UnknownMatch{Name: x.name, Args: unknownArgs(x)}
	}
	d.AddMatch(m)
	return d.Take(1)
}

func (d *ruleDecoder) target() bool {
	x, ok := readExtension(d.Rest[0], "target")
	if !ok {
		return false
	}
	if d.Rule.Target, ok = decodeTarget(d.Family, x); !ok {
		d.Rule.Target = iptables.UnknownTarget{Name: x.name, Args: unknownArgs(x)}
	}
	return d.Take(1)
}

// readExtension reads the expression "match" or "target" (enum
// nft_match_attributes, enum nft_target_attributes, which are alike).
func readExtension(e expression.Expression, name string) (x extension, ok bool) {
	if e.Name != name {
		return x, false
	}
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_MATCH_NAME:
			x.name = netlink.ReadString(value)
		case unix.NFTA_MATCH_REV:
			x.revision = netlink.ReadUint32(value)
		case unix.NFTA_MATCH_INFO:
			x.info = value
		default:
			return x, false
		}
	}
	return x, x.name != ""
}
