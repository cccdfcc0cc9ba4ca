package others

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// looked is the expression "lookup".
type looked struct {
	set      string
	register uint32
	not      bool
	// to is where a map's value goes, if maps.
	to   uint32
	maps bool
}

// readLookup reads "lookup reg set name dreg reg" (enum nft_lookup_attributes).
func readLookup(e expression.Expression) (l looked, ok bool) {
	a, ok := attributesOf(e, unix.NFTA_LOOKUP_FLAGS)
	l = looked{
		set: netlink.ReadString(a[unix.NFTA_LOOKUP_SET]), register: a.register(unix.NFTA_LOOKUP_SREG),
		to: a.register(unix.NFTA_LOOKUP_DREG), maps: a.has(unix.NFTA_LOOKUP_DREG),
	}
	flags := a.number(unix.NFTA_LOOKUP_FLAGS)
	l.not = flags&unix.NFT_LOOKUP_F_INV != 0
	return l, ok && flags&^unix.NFT_LOOKUP_F_INV == 0
}

// lookup reads the lookup of values in a set or a map.
func (d *decoder) lookup(e expression.Expression) bool {
	l, ok := readLookup(e)
	if !ok {
		return d.doubt("a lookup", false)
	}
	s := d.set(l.set)
	if s == nil {
		return d.doubt("a lookup in @"+l.set, false)
	}
	loads, found := d.registers.loads(l.register, s.keySize)
	if !found {
		return d.doubt("a lookup in @"+l.set, false)
	}
	c := condition{loads: loads, not: l.not}
	if s.flags&setAnonymous == 0 {
		c.set = l.set
	}
	all, exact := s.decode(loads, d.link)
	for _, x := range all {
		c.elements = append(c.elements, x.model)
	}
	switch {
	case !exact && l.maps && l.to == unix.NFT_REG_VERDICT:
		return d.do(iptables.Statement{Words: names(loads) + " vmap @" + l.set})
	case !exact:
		d.registers.put(l.to, content{mapped: &mapped{words: names(loads) + " map @" + l.set}})
		return d.doubt(names(loads)+" in @"+l.set, false)
	case l.maps && l.to == unix.NFT_REG_VERDICT:
		return d.choose(c, s, all)
	case l.maps:
		return d.mapTo(l.to, c, s, all)
	}
	if _, any := s.catchall(); any {
		c.elements = append(c.elements, everything(loads))
	}
	return d.met(c)
}

// everything is an element for all values.
func everything(loads []load) iptables.Element {
	var e iptables.Element
	for _, l := range loads {
		size := l.modelKey().Size
		e = append(e, iptables.Interval{
			First: iptables.Value(strings.Repeat("\x00", size)), Last: iptables.Value(strings.Repeat("\xff", size)),
		})
	}
	return e
}

// modelled is an element with its place in the model.
type modelled struct {
	interval
	model iptables.Element
}

// decode returns the elements for loads. It is not exact if one cannot be told in the
// model, or asks for more than values.
func (s *set) decode(loads []load, link func(uint32) string) (all []modelled, exact bool) {
	for _, x := range s.intervals() {
		e, ok := x.decode(loads, link)
		if !ok || x.asks {
			return nil, false
		}
		all = append(all, modelled{x, e})
	}
	x, any := s.catchall()
	return all, !any || !x.asks
}

// choose makes a target of a verdict map.
func (d *decoder) choose(c condition, s *set, all []modelled) bool {
	m := c.comparison()
	m.Words = names(c.loads) + " vmap "
	t := iptables.Choice{Lookup: m}
	var texts []string
	for _, x := range all {
		target := targetOf(x.element)
		t.Targets = append(t.Targets, target)
		texts = append(texts, elementText(c.loads, x.model)+" : "+targetText(target))
	}
	if x, ok := s.catchall(); ok {
		t.Otherwise = targetOf(x)
		texts = append(texts, "* : "+targetText(t.Otherwise))
	}
	if c.set != "" {
		t.Lookup.Words += "@" + c.set
	} else {
		t.Lookup.Words += "{ " + strings.Join(texts, ", ") + " }"
	}
	return d.do(t)
}

func targetOf(x element) iptables.Target {
	if x.verdict == nil {
		return nil
	}
	return verdictTarget(*x.verdict)
}

// targetText returns a verdict as nft prints it.
func targetText(t iptables.Target) string {
	switch t := t.(type) {
	case nil:
		return "continue"
	case iptables.Verdict:
		return strings.ToLower(string(t))
	case iptables.Jump:
		return "jump " + t.Chain
	case iptables.Goto:
		return "goto " + t.Chain
	}
	return "queue"
}

// mapTo loads a register with what a map has for the packet. A packet that it has nothing
// for does not match the rule.
func (d *decoder) mapTo(register uint32, c condition, s *set, all []modelled) bool {
	words := names(c.loads) + " map "
	if c.set != "" {
		words += "@" + c.set
	} else {
		words += c.elementsText()
	}
	to := &mapped{words: words}
	for _, x := range all {
		to.values = append(to.values, x.data)
	}
	if x, ok := s.catchall(); ok {
		to.values = append(to.values, x.data)
	} else if !c.isMetByAll() {
		d.met(c)
	}
	d.registers.put(register, content{mapped: to})
	return true
}

// isMetByAll reports whether every packet meets the condition, such as that a number modulo
// 2 is 0 or 1.
func (c *condition) isMetByAll() bool {
	met, err := c.comparison().MetBy(&iptables.Packet{})
	return err == nil && met && !slices.ContainsFunc(c.loads, func(l load) bool { return l.key.Field != "" })
}
