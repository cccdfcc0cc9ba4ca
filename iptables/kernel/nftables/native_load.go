package nftables

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// nativeTable is the table of the native form as the kernel has it.
type nativeTable struct {
	flags  uint32 // NFT_TABLE_F_*
	use    int    // chains, sets with names and objects
	chains []*installedNativeChain
	sets   map[string]*installedSet
}

type installedNativeChain struct {
	installedChain
	texts []ruleText // of each rule, until they are decoded
	rules []nativeRule
}

func isNativeTable(m netlink.Message, name []byte) bool {
	return m.Family() == unix.NFPROTO_INET && netlink.ReadString(name) == nativeKey.name
}

func (t *nativeTable) chain(name string) *installedNativeChain {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

// ruleText is a rule that can be read when the sets are known.
type ruleText struct {
	exprs  []expression.Expression
	origin iptables.Origin
}

// addRule keeps a rule's expressions.
func (c *installedNativeChain) addRule(exprs []byte) {
	c.texts = append(c.texts, ruleText{exprs: expression.Append(nil, bytes.Clone(exprs))})
}

// addComment keeps the comment of the last rule, which follows its expressions.
func (c *installedNativeChain) addComment(userdata []byte) {
	if n := len(c.texts) - 1; n >= 0 {
		c.texts[n].origin = originOf(userdata)
	}
}

// originOf undoes commentTLV of commentOf.
func originOf(userdata []byte) (o iptables.Origin) {
	if len(userdata) < 3 || userdata[0] != 0 {
		return o
	}
	comment := netlink.ReadString(userdata[2:])
	if what, ok := strings.CutPrefix(comment, iptables.BuiltIn+" ("); ok {
		return iptables.Origin{Option: iptables.BuiltIn, Value: strings.TrimSuffix(what, ")")}
	}
	if strings.HasPrefix(comment, "--") {
		o.Option, o.Value, _ = strings.Cut(comment, "=")
	}
	return o
}

// loadSets reads the elements of all sets and then the rules that look them up.
func (t *nativeTable) loadSets(c *netlink.Conn) error {
	err := t.list(c, unix.NFT_MSG_GETSET, "list the sets", unix.NFTA_SET_TABLE, nil, t.addSet)
	if err != nil {
		return err
	}
	for name, set := range t.sets {
		of := func(b *netlink.Builder) { b.PutString(unix.NFTA_SET_ELEM_LIST_SET, name) }
		err := t.list(c, unix.NFT_MSG_GETSETELEM, "list a set", unix.NFTA_SET_ELEM_LIST_TABLE, of, set.addElements)
		if err != nil {
			return err
		}
	}
	for _, chain := range t.chains {
		for _, text := range chain.texts {
			r := decodeNative(text.exprs, t.sets)
			r.rule.Origin = text.origin
			chain.rules = append(chain.rules, r)
		}
		chain.rules = joinTProxy(chain.rules)
	}
	return nil
}

// list reads what there is of a kind in the table, whose name is the attribute
// table; and adds others. What has been removed meanwhile is a change.
func (t *nativeTable) list(c *netlink.Conn, kind uint16, purpose netlink.Purpose,
	table uint16, and func(*netlink.Builder), each func(netlink.Message)) error {
	err := c.Dump(netlink.Request{
		Kind: netlink.NFTables(kind), Family: familyNumber(inet), Purpose: purpose,
		Attributes: func(b *netlink.Builder) {
			b.PutString(table, nativeKey.name)
			if and != nil {
				and(b)
			}
		},
	}, each)
	if errors.Is(err, unix.ENOENT) {
		return netlink.ErrChanged
	}
	return err
}

// addSet reads NFT_MSG_NEWSET (enum nft_set_attributes).
func (t *nativeTable) addSet(m netlink.Message) {
	var name, table string
	set := &installedSet{}
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_SET_TABLE:
			table = netlink.ReadString(value)
		case unix.NFTA_SET_NAME:
			name = netlink.ReadString(value)
		case unix.NFTA_SET_FLAGS:
			set.flags = netlink.ReadUint32(value)
		}
	}
	if table == nativeKey.name {
		t.sets[name] = set
	}
}

// addElements reads NFT_MSG_NEWSETELEM (enum nft_set_elem_list_attributes).
func (s *installedSet) addElements(m netlink.Message) {
	for kind, list := range m.Attributes() {
		if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, item := range netlink.Attributes(list) {
			s.elements = append(s.elements, readElement(item))
		}
	}
}

// readElement reads enum nft_set_elem_attributes. A map's data, or anything else,
// makes a key that no field has.
func readElement(b []byte) (x element) {
	for kind, value := range netlink.Attributes(b) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			x.key = bytes.Clone(expression.ReadData(value))
		case unix.NFTA_SET_ELEM_FLAGS:
			x.end = netlink.ReadUint32(value)&elementEnd != 0
		case unix.NFTA_SET_ELEM_PAD, unix.NFTA_SET_ELEM_USERDATA:
		default:
			return element{}
		}
	}
	return x
}

// isSound reports whether the table is made as we make it: nothing in it keeps
// the rules from doing what they say, or would be in the way of changing them.
func (t *nativeTable) isSound() bool {
	return t.inForce() && !slices.ContainsFunc(t.chains, func(c *installedNativeChain) bool {
		_, name := modelChainName(c.name)
		return !c.base && !iptables.IsOwn(name)
	})
}

// inForce reports whether packets meet the rules of the built-in chains, and
// nothing but chains is in the table.
func (t *nativeTable) inForce() bool {
	// The table's use counts sets and other objects too, but not anonymous sets
	// (nf_tables_commit in net/netfilter/nf_tables_api.c).
	if t.flags != 0 || t.use != len(t.chains) {
		return false
	}
	for _, c := range t.chains {
		table, name := modelChainName(c.name)
		a, isBuiltin := nativeAttachment(table, name)
		if c.base != isBuiltin || c.base && (c.attached != a || c.policy != "ACCEPT") {
			return false
		}
	}
	return true
}

// foreignChain stands for what is in the table and not of our making, so that
// the table is not taken for what is wanted. There is no such chain.
const foreignChain = iptables.OwnPrefix + "FOREIGN"

// ruleset returns the table as tables of both families. A chain is there for the
// families whose packets reach it. What none reach is shown with IPv4, so that it
// is noticed.
func (t *nativeTable) ruleset() iptables.Ruleset {
	var rs iptables.Ruleset
	if t == nil {
		return rs
	}
	if !t.isSound() {
		rs.Tables = append(rs.Tables, iptables.NewTable(iptables.IPv4, iptables.Nat))
		rs.Tables[0].Append(foreignChain)
	}
	if !t.inForce() {
		return rs
	}
	seen := make(map[string]bool)
	for _, f := range iptables.Families() {
		reached := t.reached(f)
		for _, c := range t.chains {
			if reached[c.name] {
				seen[c.name] = true
				addNative(&rs, f, c)
			}
		}
	}
	for _, c := range t.chains {
		if !seen[c.name] && !c.base {
			addNative(&rs, iptables.IPv4, c)
		}
	}
	rs.Sort()
	return rs
}

// reached returns the chains that packets of a family can get to.
func (t *nativeTable) reached(f iptables.Family) map[string]bool {
	reached := make(map[string]bool)
	var visit func(c *installedNativeChain)
	visit = func(c *installedNativeChain) {
		if c == nil || reached[c.name] {
			return
		}
		rules := c.of(f)
		if c.base && len(rules) == 0 {
			return
		}
		reached[c.name] = true
		for _, r := range rules {
			if to, ok := r.JumpsTo(); ok {
				visit(t.chain(to))
			}
		}
	}
	for _, c := range t.chains {
		if c.base {
			visit(c)
		}
	}
	return reached
}

// of returns the rules that packets of a family meet.
func (c *installedNativeChain) of(f iptables.Family) []iptables.Rule {
	var rules []iptables.Rule
	for _, r := range c.rules {
		if r.family == anyFamily || r.family == f {
			rules = append(rules, r.of(f))
		}
	}
	return rules
}

func addNative(rs *iptables.Ruleset, f iptables.Family, c *installedNativeChain) {
	name, chain := modelChainName(c.name)
	if rs.Table(f, name) == nil {
		rs.Tables = append(rs.Tables, iptables.NewTable(f, name))
	}
	rules := slices.Clone(c.of(f))
	for i := range rules {
		rules[i].Target = renamed(rules[i].Target, func(native string) string {
			_, chain := modelChainName(native)
			return chain
		})
	}
	rs.Table(f, name).Append(chain, rules...)
}

// renamed returns a target with the name of the chain that it jumps to changed.
func renamed(t iptables.Target, rename func(string) string) iptables.Target {
	switch t := t.(type) {
	case iptables.Jump:
		return iptables.Jump{Chain: rename(t.Chain)}
	case iptables.Goto:
		return iptables.Goto{Chain: rename(t.Chain)}
	}
	return t
}
