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
// read becomes an UnknownMatch or UnknownTarget, which keeps the bytes.
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

// ReadMatch reads a match of xtables.
func ReadMatch(f iptables.Family, e expression.Expression) (m iptables.Match, ok bool) {
	x, ok := readExtension(e, "match")
	if !ok {
		return nil, false
	}
	if m, ok := decodeMatch(x); ok {
		return m, true
	}
	return unknownMatch(f, x), true
}

// ReadTarget reads a target of xtables.
func ReadTarget(f iptables.Family, e expression.Expression) (t iptables.Target, ok bool) {
	x, ok := readExtension(e, "target")
	if !ok {
		return nil, false
	}
	if t, ok := decodeTarget(f, x); ok {
		return t, true
	}
	return unknownTarget(f, x), true
}

func (d *ruleDecoder) match() bool {
	m, ok := ReadMatch(d.Family, d.Rest[0])
	if !ok {
		return false
	}
	if ports, isPorts := m.(iptables.Ports); isPorts && d.Rule.Protocol != (iptables.ProtocolMatch{Protocol: ports.Protocol}) {
		x, _ := readExtension(d.Rest[0], "match")
		m = unknownMatch(d.Family, x)
	}
	d.AddMatch(m)
	return d.Take(1)
}

func (d *ruleDecoder) target() bool {
	t, ok := ReadTarget(d.Family, d.Rest[0])
	if !ok {
		return false
	}
	d.Rule.Target = t
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
