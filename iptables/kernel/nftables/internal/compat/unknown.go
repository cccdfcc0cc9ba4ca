package compat

import (
	"bytes"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// unknownArgs stands for the arguments of an extension that has no words.
func unknownArgs() []string { return []string{expression.NotUnderstood} }

// unknownMatch returns a match that the model has no type for.
func unknownMatch(f iptables.Family, x extension) iptables.UnknownMatch {
	words, ok := wordsOf(matchLayouts(), f, x)
	if !ok {
		words = unknownArgs()
	}
	name := x.name
	if name == "conntrack" && fields(x.info).u16(conntrackFlags)&conntrackAlias != 0 {
		name = "state"
	}
	return iptables.UnknownMatch{Name: name, Args: words, Kept: x.kept()}
}

// unknownTarget returns a target that the model has no type for.
func unknownTarget(f iptables.Family, x extension) iptables.UnknownTarget {
	words, ok := wordsOf(targetLayouts(), f, x)
	if !ok {
		words = unknownArgs()
	}
	name := x.name
	if name == "CT" && fields(x.info).u16(0)&ctAlias != 0 {
		name = "NOTRACK"
	}
	return iptables.UnknownTarget{Name: name, Args: words, Kept: x.kept()}
}

// kept returns an extension that outlasts the message that it was read from.
func (e extension) kept() extension {
	e.info = bytes.Clone(e.info)
	return e
}

// keptExtension returns the extension of an unknown match or target, as it was read.
func keptExtension(name string, kept any) (extension, error) {
	if x, ok := kept.(extension); ok {
		return x, nil
	}
	return extension{}, fmt.Errorf("%s cannot be written", name)
}
