package expression

import (
	"bytes"

	"github.com/meshtables/meshtables/iptables"
)

// Decoder reads the expressions of one rule from the front. A method that returns false
// has read nothing, so that another can try.
type Decoder struct {
	// Family is the family of the rule's packets, which says where addresses are.
	Family iptables.Family
	Rest   []Expression // those not yet read
	Rule   iptables.Rule

	counted bool
}

// Take drops the first n expressions, which have been read.
func (d *Decoder) Take(n int) bool {
	d.Rest = d.Rest[n:]
	return true
}

// AddMatch appends a match to the rule.
func (d *Decoder) AddMatch(m iptables.Match) { d.Rule.Matches = append(d.Rule.Matches, m) }

// Counter reads the first counter.
func (d *Decoder) Counter() bool {
	packets, bytes, ok := d.Rest[0].Counter()
	if !ok || d.counted {
		return false
	}
	d.counted = true
	d.Rule.Counters = iptables.Counters{Packets: packets, Bytes: bytes}
	return d.Take(1)
}

// Counted reports whether the counter, between conditions and target, has been read.
func (d *Decoder) Counted() bool { return d.counted }

// Verdict reads a verdict or a jump.
func (d *Decoder) Verdict() bool {
	v, ok := d.Rest[0].Verdict()
	if !ok {
		return false
	}
	switch v.Kind {
	case VerdictAccept:
		d.Rule.Target = iptables.Accept
	case VerdictDrop:
		d.Rule.Target = iptables.Drop
	case VerdictReturn:
		d.Rule.Target = iptables.Return
	case VerdictJump:
		d.Rule.Target = iptables.Jump{Chain: v.Chain}
	case VerdictGoto:
		d.Rule.Target = iptables.Goto{Chain: v.Chain}
	default:
		return false
	}
	return d.Take(1)
}

// Unknown keeps one expression as it is.
func (d *Decoder) Unknown() {
	e := d.Rest[0]
	kept := Expression{e.Name, bytes.Clone(e.Data)}
	d.AddMatch(iptables.UnknownMatch{Name: Unknown, Args: e.words(), Kept: kept})
	d.Take(1)
}

// UnknownTarget makes the last unknown expression the target of a rule that has none: it
// may be one, such as masq or reject.
func (d *Decoder) UnknownTarget() {
	last := len(d.Rule.Matches) - 1
	if d.Rule.Target != nil || last < 0 {
		return
	}
	if m, ok := d.Rule.Matches[last].(iptables.UnknownMatch); ok && m.Name == Unknown {
		d.Rule.Matches = d.Rule.Matches[:last]
		d.Rule.Target = iptables.UnknownTarget(m)
	}
}

// Between reads a comparison of the register with an interval after the first n
// expressions. length is the number of expressions including those n, or 0 if there is no
// such comparison. It takes nothing.
func (d *Decoder) Between(n int, register uint32) (first, last []byte, not bool, length int) {
	if len(d.Rest) <= n {
		return nil, nil, false, 0
	}
	first, last, not, read := between(d.Rest[n:], register)
	if read == 0 || len(first) != len(last) {
		return nil, nil, false, 0
	}
	return first, last, not, n + read
}

// Comparison follows a load: an optional mask and "cmp".
type Comparison struct {
	Mask, Data []byte
	Not        bool
	Length     int // in expressions, the load included
}

// Comparison reads what follows the first expression, a load of the register. It
// takes nothing.
func (d *Decoder) Comparison(register uint32) (c Comparison, ok bool) {
	c.Length = 1
	if len(d.Rest) > c.Length {
		b, ok := d.Rest[c.Length].Bitwise()
		if ok && b.SourceRegister == register && len(bytes.Trim(b.Xor, "\x00")) == 0 {
			c.Mask, register = b.Mask, b.DestRegister
			c.Length++
		}
	}
	if len(d.Rest) <= c.Length {
		return c, false
	}
	c.Data, c.Not, ok = d.Rest[c.Length].Compare(register)
	c.Length++
	return c, ok && (c.Mask == nil || len(c.Mask) == len(c.Data))
}
