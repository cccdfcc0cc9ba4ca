package nftables

import (
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// batch is one transaction of changes to tables, chains and rules.
type batch struct {
	*netlink.Batch
	err error // the first rule that could not be encoded
}

func newBatch(c *netlink.Conn, generation uint32) *batch {
	return &batch{Batch: c.NewBatch(generation)}
}

func (b *batch) add(kind, flags uint16, o operation, attributes func(*netlink.Builder)) {
	b.Add(netlink.Request{
		Kind: netlink.NFTables(kind), Flags: flags, Family: familyNumber(o.family), Purpose: o, Attributes: attributes,
	})
}

// mark is the comment of the tables and built-in chains that we made, by which
// we know that we may remove them. nft prints it, iptables ignores it; kernels
// before 5.10 do not keep it. It is a TLV of libnftnl's (libnftnl/udata.h), type
// 0 being the comment of a table as of a chain.
const mark = "\x00\x0bmeshtables\x00"

func (b *batch) newTable(t tableKey) {
	o := operation{what: "create", family: t.family, table: t.name}
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.name)
		b.PutBytes(nftaTableUserdata, []byte(mark))
	})
}

func (b *batch) deleteTable(t tableKey) {
	o := operation{what: "delete", family: t.family, table: t.name}
	b.add(unix.NFT_MSG_DELTABLE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_TABLE_NAME, t.name)
	})
}

func (b *batch) newChain(t tableKey, chain string) {
	o := operation{what: "create", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
	})
}

// newBaseChain creates a built-in chain and attaches it to its hook.
func (b *batch) newBaseChain(t tableKey, chain string, a attachment) {
	o := operation{what: "create", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
		b.Nest(unix.NFTA_CHAIN_HOOK, func() {
			b.PutUint32(unix.NFTA_HOOK_HOOKNUM, a.hook)
			b.PutUint32(unix.NFTA_HOOK_PRIORITY, uint32(a.priority))
		})
		b.PutUint32(unix.NFTA_CHAIN_POLICY, nfAccept)
		b.PutString(unix.NFTA_CHAIN_TYPE, a.kind)
		b.PutBytes(nftaChainUserdata, []byte(mark))
	})
}

func (b *batch) deleteChain(t tableKey, chain string) {
	o := operation{what: "delete", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_DELCHAIN, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_CHAIN_TABLE, t.name)
		b.PutString(unix.NFTA_CHAIN_NAME, chain)
	})
}

// deleteRules deletes all rules of a chain.
func (b *batch) deleteRules(t tableKey, chain string) {
	o := operation{what: "flush", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_DELRULE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
	})
}

func (b *batch) deleteRule(t tableKey, chain string, r *installedRule) {
	o := operation{"delete a rule of", t.family, t.name, chain, &r.rule}
	b.add(unix.NFT_MSG_DELRULE, 0, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
		b.PutUint64(unix.NFTA_RULE_HANDLE, r.handle)
	})
}

// appendRule adds a rule to the end of a chain. More expressions follow those of
// its own.
func (b *batch) appendRule(t tableKey, chain string, r *iptables.Rule, more ...expr.Any) {
	var e expression.Encoder
	err := encodeRule(&e, t.family, r)
	e.Add(more...)
	b.newRule(t, chain, r, &e, err, func(b *netlink.Builder) { putProtocol(b, r.Protocol) })
}

// newRule adds a rule to the end of a chain, unless encoding it failed.
func (b *batch) newRule(t tableKey, chain string, r *iptables.Rule, e *expression.Encoder, failure error, attributes func(*netlink.Builder)) {
	o := operation{"add a rule to", t.family, t.name, chain, r}
	exprs, err := e.Bytes()
	if failure != nil {
		err = failure
	}
	if err != nil {
		b.fail(o, err)
		return
	}
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_RULE_TABLE, t.name)
		b.PutString(unix.NFTA_RULE_CHAIN, chain)
		b.PutBytes(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, exprs)
		attributes(b)
	})
}

func (b *batch) fail(o operation, err error) {
	if b.err == nil {
		b.err = fmt.Errorf("failed to %s (%s): %w", o, o.rule, err)
	}
}

// operation is what a message asks the kernel for, for its errors.
type operation struct {
	what   string // such as "add a rule to"
	family iptables.Family
	table  string
	chain  string
	rule   *iptables.Rule
}

func (o operation) String() string {
	if o.table == "" {
		return o.what
	}
	s := o.what
	if o.chain != "" {
		s += " chain " + o.chain + " of"
	}
	return s + " table " + tableName(o.family, o.table)
}

// tableName is a table as nft names it: "ip nat".
func tableName(f iptables.Family, table string) string {
	switch f {
	case inet:
		return "inet " + table
	case iptables.IPv6:
		return "ip6 " + table
	}
	return "ip " + table
}
