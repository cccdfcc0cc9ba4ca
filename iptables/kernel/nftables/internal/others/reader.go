package others

import (
	"context"
	"errors"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Reader reads rules with the sets that they look up.
type Reader struct {
	// Links returns the names of interfaces by their numbers. It is called once, if a
	// rule has such a number; nil has none.
	Links func() map[uint32]string

	sets  map[tables.SetKey]*set
	links map[uint32]string
}

// LoadSets reads the sets that rules look up, if there are any. The error is
// [netlink.ErrChanged] if one was removed meanwhile.
func (r *Reader) LoadSets(ctx context.Context, c *netlink.Conn, wanted []tables.SetKey) error {
	if len(wanted) == 0 {
		return nil
	}
	err := c.Dump(ctx, netlink.Request{
		Kind: netlink.NFTables(unix.NFT_MSG_GETSET), Family: unix.NFPROTO_UNSPEC, Purpose: netlink.Purpose("list the sets"),
	}, r.AddSet)
	if err != nil {
		return err
	}
	read := make(map[tables.SetKey]bool)
	for _, key := range wanted {
		if read[key] {
			continue
		}
		read[key] = true
		if err := r.loadElements(ctx, c, key); err != nil {
			return err
		}
	}
	return nil
}

// AddSet adds a set without its elements.
func (r *Reader) AddSet(m netlink.Message) {
	key, s, ok := readSet(m)
	if !ok {
		return
	}
	if r.sets == nil {
		r.sets = make(map[tables.SetKey]*set)
	}
	r.sets[key] = s
}

// AddElements adds elements to their set, if it was added.
func (r *Reader) AddElements(m netlink.Message) {
	key, elements, ok := readElements(m)
	if s := r.sets[key]; ok && s != nil {
		s.elements = append(s.elements, elements...)
	}
}

func (r *Reader) loadElements(ctx context.Context, c *netlink.Conn, key tables.SetKey) error {
	err := c.Dump(ctx, netlink.Request{
		Kind: netlink.NFTables(unix.NFT_MSG_GETSETELEM), Family: tables.Number(key.Table.Family), Purpose: netlink.Purpose("list a set"),
		Attributes: func(b *netlink.Builder) {
			b.PutString(unix.NFTA_SET_ELEM_LIST_TABLE, key.Table.Name)
			b.PutString(unix.NFTA_SET_ELEM_LIST_SET, key.Name)
		},
	}, r.AddElements)
	if errors.Is(err, unix.ENOENT) {
		return netlink.ErrChanged
	}
	return err
}

// link returns the name of an interface. If there is none with the number, it is one that
// no interface can have.
func (r *Reader) link(number uint32) string {
	if r.links == nil && r.Links != nil {
		r.links = r.Links()
	}
	if name, ok := r.links[number]; ok {
		return name
	}
	return fmt.Sprintf("%d/none", number)
}

// Rule reads a rule of a table as packets of a family meet it.
func (r *Reader) Rule(table tables.Key, f iptables.Family, exprs []expression.Expression) iptables.Rule {
	d := decoder{
		family: f, link: r.link, registers: make(registers), parts: make([]iptables.Rule, 1), rest: exprs,
		set: func(name string) *set { return r.sets[tables.SetKey{Table: table, Name: name}] },
	}
	return d.decode()
}
