package native

import (
	"encoding/binary"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

func (d *decoder) target() bool {
	if d.Verdict() {
		return true
	}
	t, n := d.readTarget()
	if n == 0 {
		return false
	}
	d.Rule.Target = t
	return d.Take(n)
}

// readTarget reads a target of several expressions; n is 0 if there is none.
func (d *decoder) readTarget() (t iptables.Target, n int) {
	// Two immediate values at most, by their registers.
	values := make(map[uint32][]byte)
	for n < len(d.Rest) {
		to, data, ok := readImmediate(d.Rest[n])
		if !ok || values[to] != nil {
			break
		}
		values[to] = data
		n++
	}
	if n == len(d.Rest) {
		return nil, 0
	}
	at := d.Rest[n]
	if first, last, ok := readRedir(at); ok {
		return readRedirect(values, first, last), n + 1
	}
	if family, min, max, ok := readSNAT(at); ok && n == 1 && min == register && (max == 0 || max == min) && family == tables.Number(d.Family) {
		to, isAddress := netip.AddrFromSlice(values[register])
		if !isAddress || iptables.FamilyOf(to) != d.Family {
			return nil, 0
		}
		return iptables.SNAT{To: to}, n + 1
	}
	if family, address, port, ok := readTProxy(at); ok && family == tproxyFamily(d.Family) {
		return d.readTProxy(n+1, values[address], values[port])
	}
	if key, _, set, ok := readCt(at); ok && n == 1 && key == unix.NFT_CT_ZONE && len(values[set]) == 2 {
		return iptables.CTZone{Zone: binary.NativeEndian.Uint16(values[set])}, n + 1
	}
	if m, used := d.readSetMark(d.Rest); used > 0 {
		return m, used
	}
	if m, used := d.readSetConnmark(); used > 0 {
		return m, used
	}
	return d.readCopyMark()
}

func tproxyFamily(f iptables.Family) byte {
	if f == anyFamily {
		return unix.NFPROTO_UNSPEC
	}
	return tables.Number(f)
}

func readRedirect(values map[uint32][]byte, first, last uint32) iptables.Target {
	if first == 0 {
		return iptables.Redirect{}
	}
	port := func(register uint32) uint16 {
		if len(values[register]) != 2 {
			return 0
		}
		return binary.BigEndian.Uint16(values[register])
	}
	return iptables.Redirect{Ports: iptables.PortRange{First: port(first), Last: port(last)}}
}

func (d *decoder) readTProxy(n int, address, port []byte) (iptables.Target, int) {
	mark, used := d.readSetMark(d.Rest[n:])
	if used == 0 || len(port) != 2 || len(d.Rest) <= n+used {
		return nil, 0
	}
	if v, ok := d.Rest[n+used].Verdict(); !ok || v.Kind != expression.VerdictAccept {
		return nil, 0
	}
	ip := iptables.IPv4.Unspecified()
	if address != nil {
		var ok bool
		if ip, ok = netip.AddrFromSlice(address); !ok {
			return nil, 0
		}
	}
	return iptables.TProxy{Port: binary.BigEndian.Uint16(port), IP: ip, Mark: mark.Value, Mask: mark.Mask}, n + used + 1
}

// readSetMark reads "meta mark set value", for all bits or those of a mask.
func (d *decoder) readSetMark(list []expression.Expression) (m iptables.SetMark, n int) {
	if len(list) >= 2 && isSetMeta(list[1], unix.NFT_META_MARK, register) {
		if to, data, ok := readImmediate(list[0]); ok && to == register && len(data) == 4 {
			return iptables.SetMark{Value: binary.NativeEndian.Uint32(data), Mask: iptables.FullMask}, 2
		}
	}
	if len(list) >= 3 && isSetMeta(list[2], unix.NFT_META_MARK, register) {
		key, to, ok := list[0].Meta()
		mask, xor, isMasked := readMasked(list[1], register)
		if ok && to == register && key == unix.NFT_META_MARK && isMasked {
			return iptables.SetMark{Value: xor, Mask: ^mask}, 3
		}
	}
	return m, 0
}

// readSetConnmark reads "ct mark set value", for all bits or those of a mask.
func (d *decoder) readSetConnmark() (m iptables.SetConnmark, n int) {
	list := d.Rest
	if len(list) >= 2 && isSetCtMark(list[1]) {
		if to, data, ok := readImmediate(list[0]); ok && to == register && len(data) == 4 {
			return iptables.SetConnmark{Value: binary.NativeEndian.Uint32(data), Mask: iptables.FullMask}, 2
		}
	}
	if len(list) >= 3 && isSetCtMark(list[2]) {
		key, to, _, ok := readCt(list[0])
		mask, xor, isMasked := readMasked(list[1], register)
		if ok && to == register && key == unix.NFT_CT_MARK && isMasked {
			return iptables.SetConnmark{Value: xor, Mask: ^mask}, 3
		}
	}
	return m, 0
}

// isSetCtMark reports whether an expression sets the connection's mark to the register.
func isSetCtMark(e expression.Expression) bool {
	key, load, set, ok := readCt(e)
	return ok && key == unix.NFT_CT_MARK && load == 0 && set == register
}

// readCopyMark reads "ct mark set meta mark" and "meta mark set ct mark", with a mask of
// the copied bits.
func (d *decoder) readCopyMark() (iptables.Target, int) {
	list := d.Rest
	mask, n := uint32(iptables.FullMask), 1
	if len(list) > 2 {
		if bits, xor, ok := readMasked(list[1], register); ok && xor == 0 {
			mask, n = bits, 2
		}
	}
	if len(list) <= n {
		return nil, 0
	}
	if key, to, ok := list[0].Meta(); ok && key == unix.NFT_META_MARK && to == register {
		if isSetCtMark(list[n]) {
			return iptables.SaveMark{PacketMask: mask, ConnectionMask: iptables.FullMask}, n + 1
		}
	}
	if key, load, _, ok := readCt(list[0]); ok && key == unix.NFT_CT_MARK && load == register &&
		isSetMeta(list[n], unix.NFT_META_MARK, register) {
		return iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: mask}, n + 1
	}
	return nil, 0
}
