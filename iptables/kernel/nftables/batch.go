package nftables

import (
	"encoding/binary"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// batch is one transaction: the kernel makes all of its changes or none, and
// every packet meets the rules from before or from after it.
//
// The expressions are those of github.com/google/nftables/expr; the messages
// around them are not, because its Conn asks for an acknowledgement and an echo
// of each (which no receive buffer holds for 10,000 rules), cannot name a
// generation, and does not tell the protocol of a rule to the extensions
// multiport and TPROXY, which then refuse it.
type batch struct {
	builder
	// first is the sequence number of the batch's begin, last that of its
	// latest change.
	first, last uint32
	lastStart   int
	operations  []operation // by sequence number, from first on
	err         error       // the first rule that could not be encoded
}

// newBatch starts a transaction that fails with ERESTART unless the kernel's
// rules are of the given generation: unless nobody has changed them since.
func newBatch(first, generation uint32) *batch {
	b := &batch{first: first, last: first}
	b.operations = []operation{{what: "change the rules"}}
	start := b.open(unix.NFNL_MSG_BATCH_BEGIN, 0, first, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.uint32(unix.NFNL_BATCH_GENID, generation)
	b.close(start)
	return b
}

// empty reports whether the batch changes nothing.
func (b *batch) empty() bool { return b.first == b.last }

// acknowledge asks for the acknowledgement of the last change.
func (b *batch) acknowledge() {
	flags := b.buf[b.lastStart+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
}

// finish asks for the acknowledgement and ends the batch.
func (b *batch) finish() {
	b.acknowledge()
	end := b.open(unix.NFNL_MSG_BATCH_END, 0, b.last+1, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.close(end)
}

func (b *batch) has(sequence uint32) bool {
	return sequence-b.first < uint32(len(b.operations))
}

func (b *batch) operation(sequence uint32) operation { return b.operations[sequence-b.first] }

func (b *batch) add(kind, flags uint16, o operation, attributes func()) {
	b.last++
	b.lastStart = len(b.buf)
	b.operations = append(b.operations, o)
	start := b.open(subsystem(kind), flags, b.last, familyNumber(o.family), 0)
	attributes()
	b.close(start)
}

// mark is the comment of the tables and built-in chains that we made, by which
// we know that we may remove them. nft prints it, iptables ignores it; kernels
// before 5.10 do not keep it. It is a TLV of libnftnl's (libnftnl/udata.h), type
// 0 being the comment of a table as of a chain.
const mark = "\x00\x0bmeshtables\x00"

func (b *batch) newTable(t tableKey) {
	o := operation{what: "create", family: t.family, table: t.name}
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, o, func() {
		b.string(unix.NFTA_TABLE_NAME, t.name)
		b.bytes(nftaTableUserdata, []byte(mark))
	})
}

func (b *batch) deleteTable(t tableKey) {
	o := operation{what: "delete", family: t.family, table: t.name}
	b.add(unix.NFT_MSG_DELTABLE, 0, o, func() {
		b.string(unix.NFTA_TABLE_NAME, t.name)
	})
}

func (b *batch) newChain(t tableKey, chain string) {
	o := operation{what: "create", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func() {
		b.string(unix.NFTA_CHAIN_TABLE, t.name)
		b.string(unix.NFTA_CHAIN_NAME, chain)
	})
}

// newBaseChain creates a built-in chain and attaches it to its hook.
func (b *batch) newBaseChain(t tableKey, chain string, a attachment) {
	o := operation{what: "create", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, o, func() {
		b.string(unix.NFTA_CHAIN_TABLE, t.name)
		b.string(unix.NFTA_CHAIN_NAME, chain)
		hook := b.nest(unix.NFTA_CHAIN_HOOK)
		b.uint32(unix.NFTA_HOOK_HOOKNUM, a.hook)
		b.uint32(unix.NFTA_HOOK_PRIORITY, uint32(a.priority))
		b.unnest(hook)
		b.uint32(unix.NFTA_CHAIN_POLICY, nfAccept)
		b.string(unix.NFTA_CHAIN_TYPE, a.kind)
		b.bytes(nftaChainUserdata, []byte(mark))
	})
}

func (b *batch) deleteChain(t tableKey, chain string) {
	o := operation{what: "delete", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_DELCHAIN, 0, o, func() {
		b.string(unix.NFTA_CHAIN_TABLE, t.name)
		b.string(unix.NFTA_CHAIN_NAME, chain)
	})
}

// deleteRules deletes all rules of a chain.
func (b *batch) deleteRules(t tableKey, chain string) {
	o := operation{what: "flush", family: t.family, table: t.name, chain: chain}
	b.add(unix.NFT_MSG_DELRULE, 0, o, func() {
		b.string(unix.NFTA_RULE_TABLE, t.name)
		b.string(unix.NFTA_RULE_CHAIN, chain)
	})
}

func (b *batch) deleteRule(t tableKey, chain string, r *installedRule) {
	o := operation{"delete a rule of", t.family, t.name, chain, &r.rule}
	b.add(unix.NFT_MSG_DELRULE, 0, o, func() {
		b.string(unix.NFTA_RULE_TABLE, t.name)
		b.string(unix.NFTA_RULE_CHAIN, chain)
		b.uint64(unix.NFTA_RULE_HANDLE, r.handle)
	})
}

// appendRule adds a rule to the end of a chain.
func (b *batch) appendRule(t tableKey, chain string, r *iptables.Rule) {
	o := operation{"add a rule to", t.family, t.name, chain, r}
	encoded, err := encodeRule(t.family, r)
	if err != nil {
		b.fail(o, err)
		return
	}
	b.addEncoded(o, t, chain, encoded)
}

func (b *batch) addEncoded(o operation, t tableKey, chain string, encoded encodedRule) {
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, o, func() {
		b.string(unix.NFTA_RULE_TABLE, t.name)
		b.string(unix.NFTA_RULE_CHAIN, chain)
		b.bytes(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, encoded.exprs.buf)
		compat := b.nest(unix.NFTA_RULE_COMPAT)
		b.uint32(unix.NFTA_RULE_COMPAT_PROTO, uint32(encoded.protocol))
		b.uint32(unix.NFTA_RULE_COMPAT_FLAGS, compatFlags(encoded.protocolNot))
		b.unnest(compat)
	})
}

func (b *batch) fail(o operation, err error) {
	if b.err == nil {
		b.err = fmt.Errorf("failed to %s (%s): %w", o, o.rule, err)
	}
}

// compatFlags returns NFT_RULE_COMPAT_F_INV for "! -p".
func compatFlags(not bool) uint32 {
	if not {
		return 1 << 1
	}
	return 0
}
