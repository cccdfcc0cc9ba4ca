package others

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// Results and flags of fib (enum nft_fib_result and nft_fib_flags in
// linux/netfilter/nf_tables.h).
const (
	fibInterface     = 1
	fibInterfaceName = 2
	fibAddressType   = 3

	fibSource      = 1 << 0
	fibDestination = 1 << 1
	fibPresent     = 1 << 5
)

var fibFlags = [...]string{"saddr", "daddr", "mark", "iif", "oif"}

// readFib reads "fib keys result => reg" (enum nft_fib_attributes).
func readFib(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, unix.NFTA_FIB_FLAGS)
	flags := a.number(unix.NFTA_FIB_FLAGS)
	var keys []string
	for i, name := range fibFlags {
		if flags&(1<<i) != 0 {
			keys = append(keys, name)
		}
	}
	prefix := "fib " + strings.Join(keys, " . ")
	var l load
	switch result := a.number(unix.NFTA_FIB_RESULT); {
	case result == fibAddressType && flags == fibSource:
		l = fieldLoad(iptables.FieldSourceType, prefix+" type", 4, addressType, true)
	case result == fibAddressType && flags == fibDestination:
		l = fieldLoad(iptables.FieldDestinationType, prefix+" type", 4, addressType, true)
	case result == fibAddressType:
		l = otherLoad(prefix+" type", 4, addressType, true)
	case flags&fibPresent != 0:
		// There is a route back, as for the match rpfilter: a packet that is asked about
		// has come, and gets an answer.
		l = constantLoad(prefix+" oif", existence, 1)
	case result == fibInterface:
		l = otherLoad(prefix+" oif", 4, index, true)
	case result == fibInterfaceName:
		l = otherLoad(prefix+" oifname", 16, name, false)
	default:
		return nil, 0, false
	}
	return []load{l}, a.register(unix.NFTA_FIB_DREG), ok
}

// readRt reads "rt load key => reg" (enum nft_rt_attributes, enum nft_rt_keys).
func readRt(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, unix.NFTA_RT_KEY)
	loads := []load{
		otherLoad("rt classid", 4, number, true), otherLoad("rt ip nexthop", 4, address, false),
		otherLoad("rt ip6 nexthop", 16, address, false), otherLoad("rt mtu", 2, number, true), constantLoad("rt ipsec", existence, 0),
	}
	return pick(loads, a.number(unix.NFTA_RT_KEY), a.register(unix.NFTA_RT_DREG), ok)
}

func pick(loads []load, n uint64, register uint32, ok bool) ([]load, uint32, bool) {
	if !ok || n >= uint64(len(loads)) {
		return nil, 0, false
	}
	return loads[n : n+1], register, true
}

// readSocket reads "socket load key => reg" (enum nft_socket_attributes, enum
// nft_socket_keys).
func readSocket(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, 3) // NFTA_SOCKET_LEVEL
	loads := []load{
		otherLoad("socket transparent", 1, number, false), otherLoad("socket mark", 4, mark, true),
		otherLoad("socket wildcard", 1, number, false),
		otherLoad(fmt.Sprintf("socket cgroupv2 level %d", a.number(3)), 8, number, true),
	}
	return pick(loads, a.number(1), a.register(2), ok)
}

// readExthdr reads "exthdr load len @ type + offset => reg" (enum nft_exthdr_attributes).
func readExthdr(e expression.Expression) ([]load, uint32, bool) {
	const present, kindOf, length, flags, op, register, source = 1, 2, 4, 5, 6, 1, 7
	a, ok := attributesOf(e, source)
	if !ok || a.has(source) {
		return nil, 0, false
	}
	names := []string{"exthdr", "tcp option", "ip option", "sctp chunk", "dccp option"}
	at := a.number(op)
	if at >= uint64(len(names)) {
		return nil, 0, false
	}
	l := otherLoad(fmt.Sprintf("%s %d", names[at], a.number(kindOf)), int(a.number(length)), number, false)
	if a.number(flags)&present != 0 {
		l.key.Size, l.kind = 1, existence
	}
	return []load{l}, a.register(register), true
}

// readNumgen reads "numgen type mod n offset m => reg" (enum nft_ng_attributes).
func readNumgen(e expression.Expression) ([]load, uint32, bool) {
	const register, modulus, kindOf, offset = 1, 2, 3, 4
	a, ok := attributesOf(e, offset)
	how := "inc"
	if a.number(kindOf) == 1 {
		how = "random"
	}
	l := moduloLoad("numgen "+how, uint32(a.number(modulus)), uint32(a.number(offset)))
	l.key.Chance = true
	return []load{l}, a.register(register), ok
}

// moduloLoad is a number between an offset and a modulus above it.
func moduloLoad(name string, modulus, offset uint32) load {
	l := otherLoad(fmt.Sprintf("%s mod %d", name, modulus), 4, number, true)
	if offset > 0 {
		l.name += fmt.Sprintf(" offset %d", offset)
	}
	if modulus > 0 {
		l.key.Possible = iptables.IDInterval(offset, offset+modulus-1)
	}
	return l
}

// readHash reads "hash reg = jhash(reg, len, seed) % mod n" (enum nft_hash_attributes).
func (d *decoder) readHash(e expression.Expression) ([]load, uint32, bool) {
	const source, register, length, modulus, seed, offset, kindOf = 1, 2, 3, 4, 5, 6, 7
	a, ok := attributesOf(e, kindOf)
	how := "symhash"
	if a.number(kindOf) == 0 {
		how = "jhash"
		if loads, ok := d.registers.loads(a.register(source), int(a.number(length))); ok {
			how += " " + names(loads)
		}
	}
	_ = seed // of the values, not of which rule they meet
	return []load{moduloLoad(how, uint32(a.number(modulus)), uint32(a.number(offset)))}, a.register(register), ok
}

// readOsf reads "osf dreg" (enum nft_osf_attributes).
func readOsf(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, 3)
	return []load{otherLoad("osf name", 16, name, false)}, a.register(1), ok
}

// readXfrm reads "xfrm load dir num key => reg" (enum nft_xfrm_attributes). The size of
// the value depends on the key; IPsec is between machines, not in a pod.
func readXfrm(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, 5)
	return []load{otherLoad("ipsec", 4, number, true)}, a.register(1), ok
}

// readTunnel reads "tunnel key => reg" (enum nft_tunnel_attributes).
func readTunnel(e expression.Expression) ([]load, uint32, bool) {
	const key, register = 1, 2
	a, ok := attributesOf(e, 3)
	loads := []load{otherLoad("tunnel path", 1, existence, false), otherLoad("tunnel id", 4, number, false)}
	return pick(loads, a.number(key), a.register(register), ok)
}

// toNumber reads a number in network order.
func toNumber(b []byte) uint64 {
	var whole [8]byte
	if len(b) > len(whole) {
		b = b[len(b)-len(whole):]
	}
	copy(whole[len(whole)-len(b):], b)
	return binary.BigEndian.Uint64(whole[:])
}
