package others

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// change reads an expression that changes what a register holds.
func (d *decoder) change(e expression.Expression) bool {
	switch e.Name {
	case "bitwise":
		return d.bitwise(e)
	case "byteorder":
		return d.byteorder(e)
	}
	return false
}

// bitwise reads "bitwise to = ( from & mask ) ^ xor". Other operations, such as shifts,
// make a value that nothing is known of.
func (d *decoder) bitwise(e expression.Expression) bool {
	b, ok := e.Bitwise()
	if !ok {
		a, _ := attributesOf(e, 0xffff)
		from := d.registers.get(a.register(unix.NFTA_BITWISE_SREG))
		d.registers.put(a.register(unix.NFTA_BITWISE_DREG), unknownOf(from))
		return true
	}
	from := d.registers.get(b.SourceRegister)
	if len(from.loads) == 0 || len(b.Mask) != len(b.Xor) || from.size() != len(b.Mask) {
		d.registers.put(b.DestRegister, unknownOf(from))
		return true
	}
	loads := make([]load, len(from.loads))
	at := 0
	for i, l := range from.loads {
		end := at + l.key.Size
		loads[i] = l.masked(inOrder(b.Mask[at:end], l.host), inOrder(b.Xor[at:end], l.host))
		at = end
	}
	d.registers.put(b.DestRegister, content{loads: loads})
	return true
}

// unknownOf returns a value that is made of another one.
func unknownOf(c content) content {
	l := otherLoad("a value", 4, number, false)
	if len(c.loads) > 0 {
		l = otherLoad(names(c.loads), c.loads[0].key.Size, number, false)
	}
	return content{loads: []load{l}}
}

// masked returns the load with more bits cleared, then flipped.
func (l load) masked(mask, xor []byte) load {
	k := &l.key
	newMask, newXor := make([]byte, len(mask)), make([]byte, len(mask))
	for i := range mask {
		before, flipped := byte(0xff), byte(0)
		if k.Mask != "" {
			before = k.Mask[i]
		}
		if k.Xor != "" {
			flipped = k.Xor[i]
		}
		newMask[i] = before & mask[i]
		newXor[i] = flipped&mask[i] ^ xor[i]
	}
	k.Mask, k.Xor = iptables.Value(newMask), iptables.Value(newXor)
	return l
}

// byteorder reads "byteorder to = hton(from, len, size)" (enum nft_byteorder_attributes).
func (d *decoder) byteorder(e expression.Expression) bool {
	a, ok := attributesOf(e, unix.NFTA_BYTEORDER_SIZE)
	if !ok {
		return false
	}
	from := d.registers.get(a.register(unix.NFTA_BYTEORDER_SREG))
	if len(from.loads) != 1 || from.loads[0].key.Size != int(a.number(unix.NFTA_BYTEORDER_SIZE)) {
		from = unknownOf(from)
	}
	l := from.loads[0]
	l.host = !l.host
	d.registers.put(a.register(unix.NFTA_BYTEORDER_DREG), content{loads: []load{l}})
	return true
}

// immediate reads a constant (enum nft_immediate_attributes).
func (d *decoder) immediate(e expression.Expression) bool {
	a, ok := attributesOf(e, unix.NFTA_IMMEDIATE_DATA)
	if !ok {
		return false
	}
	if v, ok := e.Verdict(); ok {
		return d.verdict(v)
	}
	d.registers.put(a.register(unix.NFTA_IMMEDIATE_DREG), content{constant: expression.ReadData(a[unix.NFTA_IMMEDIATE_DATA])})
	return true
}

func (d *decoder) verdict(v expression.Verdict) bool {
	if t := verdictTarget(v); t != nil {
		return d.end(t)
	}
	return true
}

// verdictTarget returns the target of a verdict; nil for "continue".
func verdictTarget(v expression.Verdict) iptables.Target {
	switch v.Kind {
	case expression.VerdictAccept:
		return iptables.Accept
	case expression.VerdictDrop:
		return iptables.Drop
	case expression.VerdictReturn:
		return iptables.Return
	case expression.VerdictJump:
		return iptables.Jump{Chain: v.Chain}
	case expression.VerdictGoto:
		return iptables.Goto{Chain: v.Chain}
	case expression.VerdictContinue:
		return nil
	}
	return iptables.UnknownTarget{Name: "NFQUEUE"}
}
