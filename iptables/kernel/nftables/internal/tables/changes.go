package tables

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// Changes is one transaction of changes to tables, chains and rules.
type Changes struct {
	*netlink.Batch
	err     error // of the first rule that could not be encoded
	encoder expression.Encoder
}

// NewChanges starts a transaction as [netlink.Conn.NewBatch] does.
func NewChanges(c *netlink.Conn, generation uint32) *Changes {
	return &Changes{Batch: c.NewBatch(generation)}
}

// Err returns the error of the first change that could not be written.
func (c *Changes) Err() error { return c.err }

// Encoder returns an encoder for the expressions of the next rule. It is the same one for
// all rules.
func (c *Changes) Encoder() *expression.Encoder {
	c.encoder.Reset()
	return &c.encoder
}

// Fail reports a change that cannot be written.
func (c *Changes) Fail(o Operation, err error) {
	if c.err == nil {
		c.err = fmt.Errorf("failed to %s (%s): %w", o, o.Rule, err)
	}
}

// Change appends a message of enum nf_tables_msg_types (linux/netfilter/nf_tables.h).
func (c *Changes) Change(kind, flags uint16, o Operation, attributes func(*netlink.Builder)) {
	c.Add(netlink.Request{
		Kind: netlink.NFTables(kind), Flags: flags, Family: Number(o.Family), Purpose: o, Attributes: attributes,
	})
}

// mark is the comment on tables and built-in chains that we created: we may remove those
// that have it. nft prints it, iptables ignores it, and kernels before 5.10 do not keep
// it. It is a TLV of libnftnl (libnftnl/udata.h); type 0 is the comment of a table or
// chain.
const mark = "\x00\x0bmeshtables\x00"

// NewTable creates a table with our mark.
func (c *Changes) NewTable(t Key) {
	o := Operation{What: "create", Key: t}
	c.Change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.Name)
		b.PutBytes(tableUserdata, []byte(mark))
	})
}

// DeleteTable deletes a table with everything in it.
func (c *Changes) DeleteTable(t Key) {
	o := Operation{What: "delete", Key: t}
	c.Change(unix.NFT_MSG_DELTABLE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.Name)
	})
}

// NewChain creates a chain that rules can jump to.
func (c *Changes) NewChain(t Key, chain string) {
	o := Operation{What: "create", Key: t, Chain: chain}
	c.Change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.Name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
	})
}

// NewBaseChain creates a built-in chain and attaches it to its hook.
func (c *Changes) NewBaseChain(t Key, chain string, a Attachment) {
	o := Operation{What: "create", Key: t, Chain: chain}
	c.Change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.Name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
		b.Nest(unix.NFTA_CHAIN_HOOK, func() {
			b.PutUint32(unix.NFTA_HOOK_HOOKNUM, a.Hook)
			b.PutUint32(unix.NFTA_HOOK_PRIORITY, uint32(a.Priority))
		})
		b.PutUint32(unix.NFTA_CHAIN_POLICY, accept)
		b.PutString(unix.NFTA_CHAIN_TYPE, a.Kind)
		b.PutBytes(chainUserdata, []byte(mark))
	})
}

// DeleteChain deletes a chain that nothing refers to any more.
func (c *Changes) DeleteChain(t Key, chain string) {
	o := Operation{What: "delete", Key: t, Chain: chain}
	c.Change(unix.NFT_MSG_DELCHAIN, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.Name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
	})
}

// DeleteRules deletes all rules of a chain.
func (c *Changes) DeleteRules(t Key, chain string) {
	o := Operation{What: "flush", Key: t, Chain: chain}
	c.Change(unix.NFT_MSG_DELRULE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.Name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
	})
}

// DeleteRule deletes the rule with a handle.
func (c *Changes) DeleteRule(t Key, chain string, r *iptables.Rule, handle uint64) {
	o := Operation{"delete a rule of", t, chain, r}
	c.Change(unix.NFT_MSG_DELRULE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.Name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
		b.PutUint64(unix.NFTA_RULE_HANDLE, handle)
	})
}

// NewRule adds a rule to the end of a chain, or to its beginning if r goes first, with more attributes (enum
// nft_rule_attributes), if any, after its expressions.
func (c *Changes) NewRule(t Key, chain string, r *iptables.Rule, e *expression.Encoder, attributes func(*netlink.Builder)) {
	o := Operation{"add a rule to", t, chain, r}
	exprs, err := e.Bytes()
	if err != nil {
		c.Fail(o, err)
		return
	}
	flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_APPEND)
	if r != nil && r.First {
		flags = unix.NLM_F_CREATE
	}
	c.Change(unix.NFT_MSG_NEWRULE, flags, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.Name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
		b.PutBytes(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, exprs)
		if attributes != nil {
			attributes(b)
		}
	})
}
