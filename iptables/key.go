package iptables

// Key is a value that a rule of nft takes of a packet, or of what surrounds it, to compare
// it or to look it up.
type Key struct {
	// Field is what is loaded; empty if no [Packet] has it.
	Field Field
	// Size is the length of the value in bytes.
	Size int
	// Mask and Xor, if there are any, are applied to the value, in this order.
	Mask, Xor Value
	// Possible are the bounds of a value that no packet has, if they are known.
	Possible Interval
	// Chance says that the value differs among packets that are alike.
	Chance bool
}

// of returns the packet's value.
func (k *Key) of(p *Packet) loaded {
	if k.Field == "" {
		return loaded{possible: k.Possible}
	}
	l := p.load(k.Field)
	if k.Field == FieldStatus && !l.absent {
		l = p.loadStatus(k.Mask)
	}
	switch v := l.possible.First; {
	case l.absent:
		return l
	case !l.isKnown() || len(v) != k.Size:
		return loaded{}
	default:
		return known(k.apply(v))
	}
}

func (k *Key) apply(v Value) Value {
	if k.Mask == "" && k.Xor == "" {
		return v
	}
	b := []byte(v)
	for i := range b {
		if i < len(k.Mask) {
			b[i] &= k.Mask[i]
		}
		if i < len(k.Xor) {
			b[i] ^= k.Xor[i]
		}
	}
	return Value(b)
}
