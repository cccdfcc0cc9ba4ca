package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// MaskedMark is a mark in the bits of a mask. The other bits are somebody else's.
type MaskedMark struct{ Value, Mask uint32 }

// String returns "0x539/0xfff", or "0x539" if the mask has all bits.
func (m MaskedMark) String() string {
	if m.Mask == iptables.FullMask {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

// Meets reports whether a mark has the value in these bits.
func (m MaskedMark) Meets(mark uint32) bool { return mark&m.Mask == m.Value }

// Excludes reports whether no mark has the values of both.
func (m MaskedMark) Excludes(other MaskedMark) bool {
	return (m.Value^other.Value)&m.Mask&other.Mask != 0
}

// Mark returns a value that is a mark, not 0, with or without a mask.
func Mark(target *MaskedMark) pflag.Value {
	parse := func(text string) (MaskedMark, error) {
		value, mask, isMasked := strings.Cut(text, "/")
		m := MaskedMark{Mask: iptables.FullMask}
		ok := true
		if isMasked {
			m.Mask, ok = parsePositive(mask)
		}
		var isPositive bool
		m.Value, isPositive = parsePositive(value)
		if !ok || !isPositive || m.Value&^m.Mask != 0 {
			return m, errors.New("must be a mark such as 0x539, or 0x539/0xfff with a mask that has all its bits")
		}
		return m, nil
	}
	return scalar[MaskedMark]{target, "mark", parse, MaskedMark.String}
}
