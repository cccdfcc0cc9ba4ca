package nftables

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// nativeChanges writes into the batch what makes the native table hold want. The
// table is ours as a whole: what is foreign in it goes.
//
// Chains stay where they are if they can, so that packets meet the old rules or
// the new ones: of two chains at one hook, a packet might meet neither.
func (s *snapshot) nativeChanges(b *batch, want iptables.Ruleset) error {
	chains, err := nativeChains(want)
	if err != nil {
		return err
	}
	have := s.native
	if have != nil && (len(chains) == 0 || !have.isSound()) {
		b.deleteTable(nativeKey)
		have = nil
	}
	if len(chains) == 0 {
		return nil
	}
	if have == nil {
		have = &nativeTable{}
		b.newTable(nativeKey)
	}
	p := nativePlanner{b: b, key: nativeKey, have: have, want: chains}
	p.removeRules()
	p.removeChains()
	p.addChains()
	p.addRules()
	return b.err
}

// nativePlanner writes the changes of the native table in the order of planner,
// for its reasons.
type nativePlanner struct {
	b    *batch
	key  tableKey
	have *nativeTable
	want []nativeChain
	keep []string // chains of which nothing changes
	sets uint32   // that the batch has made
}

func (p *nativePlanner) wanted(name string) *nativeChain {
	for i := range p.want {
		if p.want[i].name == name {
			return &p.want[i]
		}
	}
	return nil
}

func (p *nativePlanner) removeRules() {
	for _, c := range p.have.chains {
		w := p.wanted(c.name)
		switch {
		case w != nil && slices.EqualFunc(c.rules, w.rules, equalNative):
			p.keep = append(p.keep, c.name)
		case len(c.rules) > 0:
			p.b.deleteRules(p.key, c.name)
		}
	}
}

func equalNative(a, b nativeRule) bool { return a.family == b.family && a.text() == b.text() }

func (p *nativePlanner) removeChains() {
	for _, c := range p.have.chains {
		if p.wanted(c.name) == nil {
			p.b.deleteChain(p.key, c.name)
		}
	}
}

func (p *nativePlanner) addChains() {
	for _, w := range p.want {
		switch {
		case p.have.chain(w.name) != nil:
		case w.base:
			p.b.newBaseChain(p.key, w.name, w.attached)
		default:
			p.b.newChain(p.key, w.name)
		}
	}
}

func (p *nativePlanner) addRules() {
	for _, w := range p.want {
		if slices.Contains(p.keep, w.name) {
			continue
		}
		for _, r := range w.rules {
			p.addRule(w.name, r, commentOf(r.rule.Origin))
			if _, ok := r.rule.Target.(iptables.TProxy); ok {
				p.addRule(w.name, tproxyGuard(r), "the proxy does not listen")
			}
		}
	}
}

func (p *nativePlanner) addRule(chain string, r nativeRule, comment string) {
	var e expression.Encoder
	err := encodeNative(&e, r, func(s iptables.Set) uint32 {
		p.sets++
		p.b.newSet(p.key, s, p.sets)
		return p.sets
	})
	p.b.newRule(p.key, chain, &r.rule, &e, err, func(b *netlink.Builder) {
		if comment != "" {
			b.PutBytes(unix.NFTA_RULE_USERDATA, commentTLV(comment))
		}
	})
}

// maxComment is the longest comment that nft itself takes
// (NFTNL_UDATA_COMMENT_MAXLEN in libnftnl/udata.h), its NUL included.
const maxComment = 128

// commentOf tells which option a rule comes from.
func commentOf(o iptables.Origin) string {
	if s := o.String(); len(s) < maxComment {
		return s
	}
	return o.Option
}

// commentTLV writes a comment as libnftnl does: type 0, length, text
// (NFTNL_UDATA_RULE_COMMENT).
func commentTLV(s string) []byte {
	return append(append([]byte{0, byte(len(s) + 1)}, s...), 0)
}
