package nftables

import (
	"bytes"
	"context"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// snapshot is what the kernel held at one moment.
type snapshot struct {
	generation uint32
	tables     []*installedTable
	native     *nativeTable            // nil if there is none
	exprs      []expression.Expression // of the rule being read
}

// installedTable is a table that iptables uses, as the kernel has it.
type installedTable struct {
	key    tableKey
	flags  uint32 // NFT_TABLE_F_*
	use    int    // chains, sets and objects
	ours   bool   // carries our mark
	chains []*installedChain
	byName map[string]*installedChain
}

type installedChain struct {
	name     string
	base     bool
	attached attachment // of a base chain
	policy   iptables.Policy
	counters iptables.Counters
	ours     bool // carries our mark
	rules    []installedRule
}

type installedRule struct {
	handle uint64
	rule   iptables.Rule
}

// maxAttempts bounds how often something is tried again because another program
// changed the rules meanwhile. Each time that program got on by one transaction.
const maxAttempts = 100

// takeSnapshot reads everything at one generation.
func takeSnapshot(ctx context.Context, c *netlink.Conn) (*snapshot, error) {
	for range maxAttempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := loadOnce(c)
		if err == nil || !isTransient(err) {
			return s, err
		}
	}
	return nil, fmt.Errorf("failed to read the rules: %w", netlink.ErrChanged)
}

// loadOnce fails with netlink.ErrChanged unless what it read is one generation.
func loadOnce(c *netlink.Conn) (*snapshot, error) {
	generation, err := c.Generation()
	if err != nil {
		return nil, err
	}
	s := &snapshot{generation: generation}
	if err := list(c, unix.NFT_MSG_GETTABLE, "list the tables", s.addTable); err != nil {
		return nil, err
	}
	if len(s.tables) > 0 || s.native != nil {
		if err := list(c, unix.NFT_MSG_GETCHAIN, "list the chains", s.addChain); err != nil {
			return nil, err
		}
		if err := list(c, unix.NFT_MSG_GETRULE, "list the rules", s.addRule); err != nil {
			return nil, err
		}
	}
	if s.native != nil {
		if err := s.native.loadSets(c); err != nil {
			return nil, err
		}
	}
	if after, err := c.Generation(); err != nil {
		return nil, err
	} else if after != generation {
		return nil, netlink.ErrChanged
	}
	return s, nil
}

// list reads what there is of a kind in all tables.
func list(c *netlink.Conn, kind uint16, purpose netlink.Purpose, each func(netlink.Message)) error {
	return c.Dump(netlink.Request{Kind: netlink.NFTables(kind), Purpose: purpose}, each)
}

func (s *snapshot) table(key tableKey) *installedTable {
	for _, t := range s.tables {
		if t.key == key {
			return t
		}
	}
	return nil
}

func (t *installedTable) chain(name string) *installedChain { return t.byName[name] }

// tableOf returns the table that a message is about, or nil. It allocates
// nothing, as it is called for every rule.
func (s *snapshot) tableOf(m netlink.Message, name []byte) *installedTable {
	for _, t := range s.tables {
		if familyNumber(t.key.family) == m.Family() && t.key.name == string(bytes.TrimRight(name, "\x00")) {
			return t
		}
	}
	return nil
}

// keyOf returns the table that a message is about, if iptables uses it.
func keyOf(m netlink.Message, name []byte) (key tableKey, ok bool) {
	key.name = netlink.ReadString(name)
	switch m.Family() {
	case unix.NFPROTO_IPV4:
		key.family = iptables.IPv4
	case unix.NFPROTO_IPV6:
		key.family = iptables.IPv6
	default:
		return key, false
	}
	return key, iptables.BuiltinChains(key.name) != nil
}

// addTable reads NFT_MSG_NEWTABLE (enum nft_table_attributes).
func (s *snapshot) addTable(m netlink.Message) {
	t := &installedTable{byName: make(map[string]*installedChain)}
	ok, native := false, false
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_TABLE_NAME:
			t.key, ok = keyOf(m, value)
			native = isNativeTable(m, value)
		case unix.NFTA_TABLE_FLAGS:
			t.flags = netlink.ReadUint32(value)
		case unix.NFTA_TABLE_USE:
			t.use = int(netlink.ReadUint32(value))
		case nftaTableUserdata:
			t.ours = bytes.Equal(value, []byte(mark))
		}
	}
	switch {
	case ok:
		s.tables = append(s.tables, t)
	case native:
		s.native = &nativeTable{flags: t.flags, use: t.use, sets: make(map[string]*installedSet)}
	}
}

// addChain reads NFT_MSG_NEWCHAIN (enum nft_chain_attributes).
func (s *snapshot) addChain(m netlink.Message) {
	var t *installedTable
	native := false
	c := &installedChain{}
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_CHAIN_TABLE:
			t = s.tableOf(m, value)
			native = isNativeTable(m, value)
		case unix.NFTA_CHAIN_NAME:
			c.name = netlink.ReadString(value)
		case unix.NFTA_CHAIN_HOOK:
			c.base = true
			for kind, value := range netlink.Attributes(value) {
				switch kind {
				case unix.NFTA_HOOK_HOOKNUM:
					c.attached.hook = netlink.ReadUint32(value)
				case unix.NFTA_HOOK_PRIORITY:
					c.attached.priority = int32(netlink.ReadUint32(value))
				}
			}
		case unix.NFTA_CHAIN_TYPE:
			c.attached.kind = netlink.ReadString(value)
		case unix.NFTA_CHAIN_POLICY:
			c.policy = policyOf(netlink.ReadUint32(value))
		case unix.NFTA_CHAIN_COUNTERS:
			c.counters.Packets, c.counters.Bytes = expression.ReadCounter(value)
		case nftaChainUserdata:
			c.ours = bytes.Equal(value, []byte(mark))
		}
	}
	switch {
	case t != nil:
		t.chains = append(t.chains, c)
		t.byName[c.name] = c
	case native && s.native != nil:
		s.native.chains = append(s.native.chains, &installedNativeChain{installedChain: *c})
	}
}

func policyOf(verdict uint32) iptables.Policy {
	if verdict == nfAccept {
		return "ACCEPT"
	}
	return "DROP"
}

// addRule reads NFT_MSG_NEWRULE (enum nft_rule_attributes).
func (s *snapshot) addRule(m netlink.Message) {
	var t *installedTable
	var c *installedChain
	var native *installedNativeChain
	var r installedRule
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_RULE_TABLE:
			if t = s.tableOf(m, value); t == nil && s.native != nil && isNativeTable(m, value) {
				native = &installedNativeChain{} // until the chain is known
			}
		case unix.NFTA_RULE_CHAIN:
			if native != nil {
				native = s.native.chain(netlink.ReadString(value))
			}
			if t != nil {
				c = t.byName[string(bytes.TrimRight(value, "\x00"))]
			}
		case unix.NFTA_RULE_HANDLE:
			r.handle = netlink.ReadUint64(value)
		case unix.NFTA_RULE_USERDATA:
			if native != nil {
				native.addComment(value)
			}
		case unix.NFTA_RULE_EXPRESSIONS:
			if native != nil {
				native.addRule(value)
			}
			if t != nil {
				s.exprs = expression.Append(s.exprs[:0], value)
				r.rule = decodeRule(t.key.family, s.exprs)
			}
		}
	}
	if c != nil {
		c.rules = append(c.rules, r)
	}
}

// ruleset returns the snapshot as iptables-save shows it: with all built-in
// chains of each table, also those that nobody has attached yet, because to
// iptables those are there, empty and accepting.
func (s *snapshot) ruleset() iptables.Ruleset {
	var rs iptables.Ruleset
	for _, t := range s.tables {
		table := iptables.NewTable(t.key.family, t.key.name)
		for _, c := range t.chains {
			chain := table.Chain(c.name)
			if chain == nil {
				table.Append(c.name)
				chain = table.Chain(c.name)
			}
			chain.Policy, chain.Counters = c.policy, c.counters
			chain.Rules = make([]iptables.Rule, len(c.rules))
			for i, r := range c.rules {
				chain.Rules[i] = r.rule
			}
		}
		rs.Tables = append(rs.Tables, table)
	}
	rs.Sort()
	return rs
}
