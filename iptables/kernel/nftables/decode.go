package nftables

import (
	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
)

// ruleDecoder reads the expressions of one rule from the front.
type ruleDecoder struct {
	family  iptables.Family
	rest    []expression
	rule    iptables.Rule
	counted bool
}

// decodeRule reads a rule that any iptables-nft, or this package, wrote. What it
// cannot read becomes an UnknownMatch or UnknownTarget that holds the bytes, so
// that two rules read alike only if they are alike.
func decodeRule(family iptables.Family, exprs []expression) iptables.Rule {
	d := ruleDecoder{family: family, rest: exprs}
	for len(d.rest) > 0 {
		if d.rule.Target != nil {
			// Nothing may follow a target.
			d.unknown()
			continue
		}
		if !d.native() && !d.counter() && !d.match() && !d.target() {
			d.unknown()
		}
	}
	d.unknownTarget()
	return d.rule
}

// take drops the expressions that have been read.
func (d *ruleDecoder) take(n int) bool {
	d.rest = d.rest[n:]
	return true
}

func (d *ruleDecoder) addMatch(m iptables.Match) { d.rule.Matches = append(d.rule.Matches, m) }

func (d *ruleDecoder) counter() bool {
	packets, bytes, ok := d.rest[0].counter()
	if !ok || d.counted {
		return false
	}
	d.counted = true
	d.rule.Counters = iptables.Counters{Packets: packets, Bytes: bytes}
	return d.take(1)
}

func (d *ruleDecoder) match() bool {
	if d.rest[0].name != "match" {
		return false
	}
	x, ok := d.rest[0].extension()
	if !ok {
		return false
	}
	m, ok := decodeMatch(x)
	if ports, isPorts := m.(iptables.Ports); isPorts && d.rule.Protocol != protocolIs(ports.Protocol) {
		ok = false
	}
	if !ok {
		m = iptables.UnknownMatch{Name: x.name, Args: unknownArgs(x)}
	}
	d.addMatch(m)
	return d.take(1)
}

func (d *ruleDecoder) target() bool {
	if v, ok := d.rest[0].verdict(); ok {
		return d.verdict(v)
	}
	x, ok := d.rest[0].extension()
	if !ok {
		return false
	}
	if d.rule.Target, ok = decodeTarget(d.family, x); !ok {
		d.rule.Target = iptables.UnknownTarget{Name: x.name, Args: unknownArgs(x)}
	}
	return d.take(1)
}

func (d *ruleDecoder) verdict(v expr.Verdict) bool {
	switch v.Kind {
	case expr.VerdictAccept:
		d.rule.Target = iptables.Accept
	case expr.VerdictDrop:
		d.rule.Target = iptables.Drop
	case expr.VerdictReturn:
		d.rule.Target = iptables.Return
	case expr.VerdictJump:
		d.rule.Target = iptables.Jump{Chain: v.Chain}
	case expr.VerdictGoto:
		d.rule.Target = iptables.Goto{Chain: v.Chain}
	default:
		return false
	}
	return d.take(1)
}

// unknown keeps one expression as it is.
func (d *ruleDecoder) unknown() {
	e := d.rest[0]
	d.addMatch(iptables.UnknownMatch{Name: nativeName, Args: rawExpressionArgs(e)})
	d.take(1)
}

// unknownTarget makes the last unknown native expression the target of a rule
// that has no other: it may well be one, such as masq or reject.
func (d *ruleDecoder) unknownTarget() {
	last := len(d.rule.Matches) - 1
	if d.rule.Target != nil || last < 0 {
		return
	}
	if m, ok := d.rule.Matches[last].(iptables.UnknownMatch); ok && m.Name == nativeName {
		d.rule.Matches = d.rule.Matches[:last]
		d.rule.Target = iptables.UnknownTarget(m)
	}
}

func protocolIs(p iptables.Protocol) iptables.ProtocolMatch {
	return iptables.ProtocolMatch{Protocol: p}
}
