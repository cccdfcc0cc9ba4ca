package others

import (
	"bytes"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// condition is a comparison of values with elements.
type condition struct {
	loads    []load
	elements []iptables.Element
	not      bool
	// set names a set that is not the rule's own.
	set string
}

// condition reads an expression that compares registers.
func (d *decoder) condition(e expression.Expression) bool {
	switch e.Name {
	case "cmp":
		return d.compare(e)
	case "range":
		return d.inRange(e)
	case "lookup":
		return d.lookup(e)
	}
	return false
}

// compare reads "cmp op reg data" (enum nft_cmp_attributes).
func (d *decoder) compare(e expression.Expression) bool {
	register, op, data, ok := readCompare(e)
	loads, found := d.registers.loads(register, len(data))
	switch {
	case !ok || !found:
		return d.doubt("a comparison", false)
	case op == unix.NFT_CMP_EQ || op == unix.NFT_CMP_NEQ:
		return d.equal(loads, data, op == unix.NFT_CMP_NEQ)
	}
	l := loads[0]
	if len(loads) != 1 || len(data) != l.key.Size || l.host && len(data) > 1 {
		return d.doubt(names(loads)+" in a range", false)
	}
	i := bounds(op, iptables.Value(data))
	if len(d.rest) > 0 && d.rest[0].Name == "cmp" && op == unix.NFT_CMP_GTE {
		if again, op, last, ok := readCompare(d.rest[0]); ok && again == register && op == unix.NFT_CMP_LTE && len(last) == len(data) {
			i.Last = iptables.Value(last)
			d.rest = d.rest[1:]
		}
	}
	return d.met(condition{loads: loads, elements: []iptables.Element{{i}}})
}

func readCompare(e expression.Expression) (register uint32, op expression.CmpOp, data []byte, ok bool) {
	a, ok := attributesOf(e, unix.NFTA_CMP_DATA)
	return a.register(unix.NFTA_CMP_SREG), expression.CmpOp(a.number(unix.NFTA_CMP_OP)),
		expression.ReadData(a[unix.NFTA_CMP_DATA]), ok && a.has(unix.NFTA_CMP_OP)
}

// bounds returns the values that are less or greater. An empty interval has none.
func bounds(op expression.CmpOp, v iptables.Value) iptables.Interval {
	low, high := iptables.Value(strings.Repeat("\x00", len(v))), iptables.Value(strings.Repeat("\xff", len(v)))
	switch op {
	case unix.NFT_CMP_LT:
		if v == low {
			return iptables.Interval{First: high, Last: low}
		}
		return iptables.Interval{First: low, Last: iptables.Value(decrement([]byte(v)))}
	case unix.NFT_CMP_LTE:
		return iptables.Interval{First: low, Last: v}
	case unix.NFT_CMP_GT:
		next, ok := v.Next()
		if !ok {
			return iptables.Interval{First: high, Last: low}
		}
		return iptables.Interval{First: next, Last: high}
	}
	return iptables.Interval{First: v, Last: high}
}

// equal compares values with data, which may have only the beginning of the last one.
func (d *decoder) equal(loads []load, data []byte, not bool) bool {
	var e iptables.Element
	for i := range loads {
		l := &loads[i]
		if l.offset >= len(data) {
			loads = loads[:i]
			break
		}
		l.complete()
		value := data[l.offset:min(l.offset+l.key.Size, len(data))]
		first, last := pad(value, l.key.Size, 0), pad(value, l.key.Size, 0xff)
		if l.key.Mask != "" {
			last = first
		}
		e = append(e, l.interval(first, last, d.link))
	}
	return d.met(condition{loads: loads, elements: []iptables.Element{e}, not: not})
}

// complete makes a load of the beginning of a field one of all of it.
func (l *load) complete() {
	if l.whole <= l.key.Size {
		return
	}
	if l.key.Mask != "" {
		l.key.Mask = iptables.Value(pad([]byte(l.key.Mask), l.whole, 0))
		l.key.Xor = iptables.Value(pad([]byte(l.key.Xor), l.whole, 0))
	}
	l.key.Size = l.whole
}

func pad(b []byte, size int, with byte) []byte {
	if len(b) >= size {
		return b
	}
	return append(bytes.Clone(b), bytes.Repeat([]byte{with}, size-len(b))...)
}

// inRange reads "range op reg from to" (enum nft_range_attributes).
func (d *decoder) inRange(e expression.Expression) bool {
	a, ok := attributesOf(e, unix.NFTA_RANGE_TO_DATA)
	first, last := expression.ReadData(a[unix.NFTA_RANGE_FROM_DATA]), expression.ReadData(a[unix.NFTA_RANGE_TO_DATA])
	loads, found := d.registers.loads(a.register(unix.NFTA_RANGE_SREG), len(first))
	if !ok || !found || len(loads) != 1 || len(first) != loads[0].key.Size || len(first) != len(last) {
		return d.doubt("a comparison", false)
	}
	if loads[0].host && len(first) > 1 {
		return d.doubt(names(loads)+" in a range", false)
	}
	i := loads[0].interval(first, last, d.link)
	return d.met(condition{loads: loads, elements: []iptables.Element{{i}}, not: a.number(unix.NFTA_RANGE_OP) == unix.NFT_RANGE_NEQ})
}

// met adds a condition: as a match of iptables if that says the same.
func (d *decoder) met(c condition) bool {
	if !d.fit(&c) {
		d.match(c.comparison())
	}
	return true
}

// comparison returns the condition in nft's words.
func (c *condition) comparison() iptables.Comparison {
	m := iptables.Comparison{Elements: iptables.NewElements(c.elements), Not: c.not, Words: c.words()}
	for _, l := range c.loads {
		m.Keys = append(m.Keys, l.modelKey())
	}
	return m
}

// modelKey returns the key as the model has it: interfaces by their names.
func (l load) modelKey() iptables.Key {
	k := l.key
	if l.kind == index {
		k.Size = unix.IFNAMSIZ
	}
	return k
}

func (c *condition) words() string {
	if c.isBitTest() {
		l := c.loads[0]
		if c.not {
			return l.name + " " + l.kind.text(l.key.Mask)
		}
		return l.text() + " == 0"
	}
	op := " "
	switch masked := c.loads[0].text() != c.loads[0].name; {
	case c.not:
		op = " != "
	case masked:
		op = " == "
	}
	return names(c.loads) + op + c.elementsText()
}

// isBitTest reports whether the condition compares some bits of flags with 0.
func (c *condition) isBitTest() bool {
	if len(c.loads) != 1 || len(c.elements) != 1 || c.set != "" {
		return false
	}
	l, i := c.loads[0], c.elements[0][0]
	return bitNames()[l.kind] != nil && l.key.Mask != "" && i.First == i.Last && toNumber([]byte(i.First)) == 0
}

func (c *condition) elementsText() string {
	if c.set != "" {
		return "@" + c.set
	}
	all := make([]string, len(c.elements))
	for i, e := range c.elements {
		all[i] = elementText(c.loads, e)
	}
	if len(all) == 1 {
		return all[0]
	}
	return "{ " + strings.Join(all, ", ") + " }"
}
