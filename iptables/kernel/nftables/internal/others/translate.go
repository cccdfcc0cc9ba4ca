package others

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// natMap is NF_NAT_RANGE_NETMAP.
const natMap = 1 << 6

// natOptions are flags of nat (linux/netfilter/nf_nat.h).
var natOptions = [...]struct {
	flag uint64
	word string
}{{1 << 2, "--random"}, {1 << 4, "--random-fully"}, {1 << 3, "--persistent"}}

// translate reads "nat", "masq" and "redir" (enum nft_nat_attributes, nft_masq_attributes
// and nft_redir_attributes), which end the chain.
func (d *decoder) translate(e expression.Expression) bool {
	a, ok := attributesOf(e, unix.NFTA_NAT_FLAGS)
	if !ok {
		return false
	}
	switch e.Name {
	case "masq":
		ports := d.portsText(a.register(unix.NFTA_MASQ_REG_PROTO_MIN), a.register(unix.NFTA_MASQ_REG_PROTO_MAX))
		return d.endTranslation("MASQUERADE", "--to-ports", ports, a.number(unix.NFTA_MASQ_FLAGS))
	case "redir":
		return d.redirect(a)
	}
	family := byte(a.number(unix.NFTA_NAT_FAMILY))
	if family != tables.Number(d.family) && family != unix.NFPROTO_INET && family != unix.NFPROTO_UNSPEC {
		// Packets of the other family stay as they are (nft_nat_inet_eval in
		// net/netfilter/nft_nat.c), and the next rule follows.
		d.ended = true
		return true
	}
	name, option := "SNAT", "--to-source"
	if a.number(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
		name, option = "DNAT", "--to-destination"
	}
	if a.number(unix.NFTA_NAT_FLAGS)&natMap != 0 {
		name, option = "NETMAP", "--to"
	}
	return d.endTranslation(name, option, d.natText(a), a.number(unix.NFTA_NAT_FLAGS))
}

func (d *decoder) endTranslation(name, option, to string, flags uint64) bool {
	var args []string
	if to != "" {
		args = append(args, option, to)
	}
	for _, option := range natOptions {
		if flags&option.flag != 0 {
			args = append(args, option.word)
		}
	}
	return d.end(iptables.UnknownTarget{Name: name, Args: args})
}

func (d *decoder) redirect(a attributes) bool {
	first, last := a.register(unix.NFTA_REDIR_REG_PROTO_MIN), a.register(unix.NFTA_REDIR_REG_PROTO_MAX)
	flags := a.number(unix.NFTA_REDIR_FLAGS) &^ unix.NF_NAT_RANGE_PROTO_SPECIFIED
	r, known := d.constantPorts(first, last)
	if flags == 0 && (known || first == 0) {
		return d.end(iptables.Redirect{Ports: r})
	}
	return d.endTranslation("REDIRECT", "--to-ports", d.portsText(first, last), flags)
}

// constantPorts returns ports that are constant.
func (d *decoder) constantPorts(first, last uint32) (r iptables.PortRange, ok bool) {
	if last == 0 {
		last = first
	}
	if first == 0 {
		return r, false
	}
	from, to := d.registers.get(first).constant, d.registers.get(last).constant
	if len(from) != 2 || len(to) != 2 {
		return r, false
	}
	return iptables.PortRange{First: binary.BigEndian.Uint16(from), Last: binary.BigEndian.Uint16(to)}, true
}

// portsText returns ports as iptables takes them, or where they are from.
func (d *decoder) portsText(first, last uint32) string {
	if first == 0 {
		return ""
	}
	r, ok := d.constantPorts(first, last)
	switch {
	case !ok:
		return d.registers.get(first).words(port)
	case r.First == r.Last:
		return strconv.Itoa(int(r.First))
	}
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// natText returns where nat sends a connection, as iptables takes it, or where that is
// from.
func (d *decoder) natText(a attributes) string {
	from, to := a.register(unix.NFTA_NAT_REG_ADDR_MIN), a.register(unix.NFTA_NAT_REG_ADDR_MAX)
	port := a.register(unix.NFTA_NAT_REG_PROTO_MIN)
	if m := d.registers.get(from).mapped; from != 0 && m != nil {
		return d.mappedText(m, port != 0)
	}
	text, last := d.addressText(from), d.addressText(to)
	if last != "" && last != text {
		text += "-" + last
	}
	ports := d.portsText(port, a.register(unix.NFTA_NAT_REG_PROTO_MAX))
	if ports == "" {
		return text
	}
	if d.family == iptables.IPv6 && text != "" {
		text = "[" + text + "]"
	}
	return text + ":" + ports
}

func (d *decoder) addressText(register uint32) string {
	if register == 0 {
		return ""
	}
	c := d.registers.get(register)
	if addr, ok := netip.AddrFromSlice(c.constant); ok {
		return addr.String()
	}
	return c.words(address)
}

// mostMapped is how many values of a map are named.
const mostMapped = 4

// mappedText returns the addresses, with ports after them, that a map has.
func (d *decoder) mappedText(m *mapped, ports bool) string {
	var all []string
	size := d.family.Unspecified().BitLen() / 8
	for _, v := range m.values {
		if len(v) < size {
			return m.words
		}
		addr, _ := netip.AddrFromSlice(v[:size])
		text := addr.String()
		if ports && len(v) >= size+2 {
			text = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(v[size:])).String()
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(all) == 0 || len(all) > mostMapped {
		return m.words
	}
	return strings.Join(all, " or ")
}

// tproxy reads "tproxy addr reg port reg" (enum nft_tproxy_attributes). Unlike the target
// of iptables it leaves packets alone for which it finds no socket, and decides nothing:
// nft's rules set a mark after it and accept.
func (d *decoder) tproxy(e expression.Expression) bool {
	a, ok := attributesOf(e, expression.TProxyPort)
	if family := byte(a.number(expression.TProxyFamily)); family != unix.NFPROTO_UNSPEC && family != tables.Number(d.family) {
		// It breaks off for packets of the other family (nft_tproxy_eval in
		// net/netfilter/nft_tproxy.c).
		d.ended = true
		return true
	}
	t := iptables.TProxy{IP: d.family.Unspecified()}
	if addr, ok := netip.AddrFromSlice(d.registers.get(a.register(expression.TProxyAddress)).constant); ok && a.has(expression.TProxyAddress) {
		t.IP = addr
	}
	port := d.registers.get(a.register(expression.TProxyPort)).constant
	if !ok || len(port) != 2 {
		return d.do(iptables.Statement{Words: "tproxy"})
	}
	t.Port = binary.BigEndian.Uint16(port)
	d.doubt("a socket for tproxy to :"+strconv.Itoa(int(t.Port)), false)
	d.markAfterTProxy()
	return d.end(t)
}

// markAfterTProxy does what a rule does with marks after "tproxy", before the target that
// ends it.
func (d *decoder) markAfterTProxy() {
	for len(d.rest) > 0 {
		e := d.rest[0]
		if _, isVerdict := e.Verdict(); isVerdict {
			return
		}
		d.rest = d.rest[1:]
		if !d.load(e) && !d.change(e) && !d.condition(e) && !d.statement(e) {
			d.doubt("the expression "+e.Name, false)
		}
	}
}
