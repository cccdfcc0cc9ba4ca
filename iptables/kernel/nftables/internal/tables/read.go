package tables

import (
	"bytes"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// Attributes and values of linux/netfilter/nf_tables.h and linux/netfilter.h
// that golang.org/x/sys/unix does not have.
const (
	tableHandle   = 4  // NFTA_TABLE_HANDLE
	tableUserdata = 6  // NFTA_TABLE_USERDATA
	chainUserdata = 12 // NFTA_CHAIN_USERDATA
	hookDevices   = 4  // NFTA_HOOK_DEVS
	devicePrefix  = 2  // NFTA_DEVICE_PREFIX
	accept        = 1  // NF_ACCEPT; NF_DROP is 0
)

// Table is a table as the kernel has it.
type Table struct {
	Key
	Flags uint32 // NFT_TABLE_F_*
	Use   int    // number of chains, named sets and objects
	Ours  bool   // has our mark
	// Handle numbers the tables of the namespace in the order in which they were made.
	Handle uint64
}

// ReadTable reads NFT_MSG_NEWTABLE (enum nft_table_attributes). It is not ok for
// tables of other families.
func ReadTable(m netlink.Message) (t Table, ok bool) {
	t.Family, ok = FamilyOf(m.Family())
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_TABLE_NAME:
			t.Name = netlink.ReadString(value)
		case unix.NFTA_TABLE_FLAGS:
			t.Flags = netlink.ReadUint32(value)
		case unix.NFTA_TABLE_USE:
			t.Use = int(netlink.ReadUint32(value))
		case tableHandle:
			t.Handle = netlink.ReadUint64(value)
		case tableUserdata:
			t.Ours = bytes.Equal(value, []byte(mark))
		}
	}
	return t, ok
}

// Place is where a chain or rule is. It shares the memory of the message, and comparing
// it allocates nothing.
type Place struct {
	family       byte
	table, chain []byte // up to the NUL
}

// In reports whether the place is in a table.
func (p Place) In(t Key) bool { return p.family == Number(t.Family) && string(p.table) == t.Name }

// Key returns the name of the table. It is not ok for tables of other families.
func (p Place) Key() (k Key, ok bool) {
	k.Family, ok = FamilyOf(p.family)
	k.Name = string(p.table)
	return k, ok
}

// Chain returns the name of the chain, valid as long as the message is.
func (p Place) Chain() []byte { return p.chain }

// Chain is a chain as the kernel has it.
type Chain struct {
	Name     string
	Base     bool
	Attached Attachment // of a base chain
	Devices  []string   // of a base chain for packets of interfaces
	Policy   iptables.Policy
	Counters iptables.Counters
	Use      int  // number of rules and, except for base chains, of references
	Ours     bool // has our mark
}

// ReadChain reads NFT_MSG_NEWCHAIN (enum nft_chain_attributes).
func ReadChain(m netlink.Message) (p Place, c Chain) {
	p.family = m.Family()
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_CHAIN_TABLE:
			p.table = name(value)
		case unix.NFTA_CHAIN_NAME:
			p.chain = name(value)
			c.Name = string(p.chain)
		case unix.NFTA_CHAIN_HOOK:
			c.Base = true
			c.readHook(value)
		case unix.NFTA_CHAIN_TYPE:
			c.Attached.Kind = netlink.ReadString(value)
		case unix.NFTA_CHAIN_POLICY:
			c.Policy = policyOf(netlink.ReadUint32(value))
		case unix.NFTA_CHAIN_USE:
			c.Use = int(netlink.ReadUint32(value))
		case unix.NFTA_CHAIN_COUNTERS:
			c.Counters.Packets, c.Counters.Bytes = expression.ReadCounter(value)
		case chainUserdata:
			c.Ours = bytes.Equal(value, []byte(mark))
		}
	}
	return p, c
}

// readHook reads NFTA_CHAIN_HOOK (enum nft_hook_attributes).
func (c *Chain) readHook(b []byte) {
	for kind, value := range netlink.Attributes(b) {
		switch kind {
		case unix.NFTA_HOOK_HOOKNUM:
			c.Attached.Hook = netlink.ReadUint32(value)
		case unix.NFTA_HOOK_PRIORITY:
			c.Attached.Priority = int32(netlink.ReadUint32(value))
		case unix.NFTA_HOOK_DEV:
			c.Devices = []string{netlink.ReadString(value)}
		case hookDevices:
			c.Devices = readDevices(value)
		}
	}
}

// readDevices reads NFTA_HOOK_DEVS, which a chain of one device has beside NFTA_HOOK_DEV
// (enum nft_devices_attributes). The beginning of names, which chains can have since Linux
// 6.16, ends in "+" as for iptables.
func readDevices(b []byte) []string {
	var devices []string
	for kind, value := range netlink.Attributes(b) {
		name := netlink.ReadString(value)
		if kind == devicePrefix {
			name += "+"
		}
		devices = append(devices, name)
	}
	return devices
}

func policyOf(verdict uint32) iptables.Policy {
	if verdict == accept {
		return "ACCEPT"
	}
	return "DROP"
}

// Rule is a rule as the kernel returns it, valid as long as the message is.
type Rule struct {
	Handle      uint64
	Expressions []byte // NFTA_RULE_EXPRESSIONS
	Userdata    []byte
}

// ReadRule reads NFT_MSG_NEWRULE (enum nft_rule_attributes).
func ReadRule(m netlink.Message) (p Place, r Rule) {
	p.family = m.Family()
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_RULE_TABLE:
			p.table = name(value)
		case unix.NFTA_RULE_CHAIN:
			p.chain = name(value)
		case unix.NFTA_RULE_HANDLE:
			r.Handle = netlink.ReadUint64(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.Expressions = value
		case unix.NFTA_RULE_USERDATA:
			r.Userdata = value
		}
	}
	return p, r
}

// name is a string up to its NUL.
func name(b []byte) []byte {
	b, _, _ = bytes.Cut(b, []byte{0})
	return b
}
