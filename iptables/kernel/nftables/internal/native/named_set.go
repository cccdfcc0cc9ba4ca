package native

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// A named set holds single addresses, which change without the rules that look it up.

// isNamed reports whether a set is one of ours, of a family.
func (s *installedSet) isNamed(f iptables.Family) bool {
	return s != nil && s.ours && s.flags == 0 && s.kind == addressField(f).kind
}

// addressField is the field that named sets have.
func addressField(f iptables.Family) setField {
	// Every family has the field.
	field, _ := setFieldOf(iptables.DestinationAddress, len(f.Unspecified().AsSlice()))
	return field
}

// namedSet looks the destination up in a set that is in the table already.
func (e *encoder) namedSet(m iptables.NamedSet) {
	e.Add(addressField(e.family).load, &expression.Lookup{SourceRegister: register, SetName: m.Name})
}

// Sets returns the table's named sets that are ours, in order.
func (t *Table) Sets() []iptables.AddressSet {
	var all []iptables.AddressSet
	for _, name := range t.Ownership.Sets {
		for _, f := range iptables.Families() {
			if set := t.sets[name]; set.isNamed(f) {
				all = append(all, iptables.AddressSet{Family: f, Name: name, Addresses: addressesOf(set)})
			}
		}
	}
	return all
}

func addressesOf(set *installedSet) []netip.Addr {
	var all []netip.Addr
	for _, x := range set.elements {
		if a, ok := netip.AddrFromSlice([]byte(x.key)); ok {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// setsOf returns the named sets that rules look up, without content.
func setsOf(rs iptables.Ruleset) []iptables.AddressSet {
	var all []iptables.AddressSet
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, m := range iptables.MatchesOf[iptables.NamedSet](r) {
					s := iptables.AddressSet{Family: t.Family, Name: m.Name}
					if !slices.ContainsFunc(all, func(have iptables.AddressSet) bool { return have.Name == s.Name }) {
						all = append(all, s)
					}
				}
			}
		}
	}
	return all
}

// fill makes the named sets that the rules need, with the wanted content, or none.
func (p *planner) fill(have *Table, needed, want []iptables.AddressSet) {
	for _, s := range needed {
		if at := slices.IndexFunc(want, func(w iptables.AddressSet) bool { return w.Name == s.Name }); at >= 0 {
			s.Addresses = want[at].Addresses
		}
		set := have.sets[s.Name]
		if set == nil {
			newNamedSet(p.b, p.key, s)
			changeElements(p.b, p.key, s.Name, unix.NFT_MSG_NEWSETELEM, s.Addresses)
			continue
		}
		more, less := difference(addressesOf(set), s.Addresses)
		changeElements(p.b, p.key, s.Name, unix.NFT_MSG_NEWSETELEM, more)
		changeElements(p.b, p.key, s.Name, unix.NFT_MSG_DELSETELEM, less)
	}
}

// drop removes the named sets that no rule needs.
func (p *planner) drop(have *Table, needed []iptables.AddressSet) {
	for _, s := range have.Sets() {
		if !slices.ContainsFunc(needed, func(n iptables.AddressSet) bool { return n.Name == s.Name }) {
			o := tables.Operation{What: "delete a set of", Key: p.key}
			p.b.Change(unix.NFT_MSG_DELSET, 0, o, func(b *netlink.Builder) {
				b.PutString(unix.NFTA_SET_TABLE, p.key.Name)
				b.PutString(unix.NFTA_SET_NAME, s.Name)
			})
		}
	}
}

// difference returns what has to be added and removed. Both lists are sorted.
func difference(have, want []netip.Addr) (more, less []netip.Addr) {
	has := func(list []netip.Addr, a netip.Addr) bool {
		_, ok := slices.BinarySearchFunc(list, a, netip.Addr.Compare)
		return ok
	}
	for _, a := range want {
		if !has(have, a) {
			more = append(more, a)
		}
	}
	for _, a := range have {
		if !has(want, a) {
			less = append(less, a)
		}
	}
	return more, less
}

func newNamedSet(b *tables.Changes, t tables.Key, s iptables.AddressSet) {
	f := addressField(s.Family)
	o := tables.Operation{What: "create a set in", Key: t}
	b.Change(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_SET_TABLE, t.Name)
		b.PutString(unix.NFTA_SET_NAME, s.Name)
		// Every new set needs a number in its transaction; ours of lists count from 1.
		b.PutUint32(unix.NFTA_SET_ID, namedSetID[s.Family])
		b.PutUint32(unix.NFTA_SET_FLAGS, 0)
		b.PutUint32(unix.NFTA_SET_KEY_TYPE, f.kind)
		b.PutUint32(unix.NFTA_SET_KEY_LEN, uint32(f.size))
		b.PutBytes(unix.NFTA_SET_USERDATA, keyOrder(f))
	})
}

// namedSetID are the numbers of new sets, beyond those of lists.
var namedSetID = map[iptables.Family]uint32{iptables.IPv4: 1 << 20, iptables.IPv6: 1<<20 + 1}

func changeElements(b *tables.Changes, t tables.Key, set string, kind uint16, addresses []netip.Addr) {
	o := tables.Operation{What: "change a set of", Key: t}
	for chunk := range slices.Chunk(addresses, maxElements) {
		b.Change(kind, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
			b.PutString(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
			b.PutString(unix.NFTA_SET_ELEM_LIST_SET, set)
			b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				for _, a := range chunk {
					element{key: iptables.Value(a.AsSlice())}.put(b)
				}
			})
		})
	}
}
