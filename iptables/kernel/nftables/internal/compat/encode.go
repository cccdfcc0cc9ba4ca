package compat

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// AppendRule adds a rule to the end of a chain.
func AppendRule(c *tables.Changes, t tables.Key, chain string, r *iptables.Rule) {
	last := *r
	last.First = false
	addRule(c, t, chain, &last)
}

// addRule adds a rule to the end of a chain, or to its beginning if it goes first.
func addRule(c *tables.Changes, t tables.Key, chain string, r *iptables.Rule) {
	e := c.Encoder()
	encodeRule(e, t.Family, r)
	c.NewRule(t, chain, r, e, func(b *netlink.Builder) { putProtocol(b, r.Protocol) })
}

// encodeRule appends the expressions that iptables-nft 1.8 writes for a rule, in its
// order (nft_ipv4_add in iptables/nft-ipv4.c): interfaces, protocol and addresses in
// native expressions, every other match and target by nft_compat.
func encodeRule(e *expression.Encoder, family iptables.Family, r *iptables.Rule) {
	e.Interfaces(r.In, r.Out)
	e.Protocol(r.Protocol)
	e.Addresses(family, r.Source, r.Destination)
	for _, m := range r.Matches {
		addMatch(e, m)
	}
	e.Add(&expression.Counter{})
	addTarget(e, family, r.Target)
}

func addMatch(e *expression.Encoder, m iptables.Match) {
	if m, ok := m.(iptables.UnknownMatch); ok && e.Unknown(m.Kept) {
		return
	}
	x, err := encodeMatch(m)
	if err != nil {
		e.Fail(err)
		return
	}
	e.Extension("match", x.name, x.revision, x.info)
}

func addTarget(e *expression.Encoder, family iptables.Family, t iptables.Target) {
	if e.Target(t) {
		return
	}
	x, err := encodeTarget(family, t)
	if err != nil {
		e.Fail(err)
		return
	}
	e.Extension("target", x.name, x.revision, x.info)
}

// putProtocol writes NFTA_RULE_COMPAT. Extensions such as tcp and TPROXY need a rule with
// a protocol, and nft_compat cannot see that from the expressions.
func putProtocol(b *netlink.Builder, p iptables.ProtocolMatch) {
	var number byte // 0 for none
	if p.Protocol != "" {
		number, _ = p.Protocol.Number()
	}
	flags := uint32(0)
	if p.Not {
		flags = ruleCompatInverted
	}
	b.Nest(unix.NFTA_RULE_COMPAT, func() {
		b.PutUint32(unix.NFTA_RULE_COMPAT_PROTO, uint32(number))
		b.PutUint32(unix.NFTA_RULE_COMPAT_FLAGS, flags)
	})
}

// ruleCompatInverted is NFT_RULE_COMPAT_F_INV (linux/netfilter/nf_tables.h).
const ruleCompatInverted = 1 << 1
