package others

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// load is a value of the packet in a register.
type load struct {
	key iptables.Key
	// name is nft's.
	name string
	kind kind
	// host says that the register has the value in the host's order. The key has it in the
	// network's.
	host bool
	// whole is the size of the field, if only its beginning is loaded.
	whole int
	// offset is the place in what is compared.
	offset int
}

func fieldLoad(f iptables.Field, name string, size int, k kind, host bool) load {
	return load{key: iptables.Key{Field: f, Size: size}, name: name, kind: k, host: host}
}

func otherLoad(name string, size int, k kind, host bool) load {
	return fieldLoad("", name, size, k, host)
}

// constantLoad is for what is the same for every packet that is asked about.
func constantLoad(name string, k kind, value byte) load {
	l := otherLoad(name, 1, k, false)
	v := iptables.Value([]byte{value})
	l.key.Possible = iptables.Interval{First: v, Last: v}
	return l
}

// load reads an expression that loads a register.
func (d *decoder) load(e expression.Expression) bool {
	readers := map[string]func(expression.Expression) ([]load, uint32, bool){
		"meta": readMeta, "payload": d.readPayload, "ct": d.readCt, "fib": readFib, "rt": readRt, "socket": readSocket,
		"exthdr": readExthdr, "numgen": readNumgen, "hash": d.readHash, "osf": readOsf, "xfrm": readXfrm, "tunnel": readTunnel,
	}
	read, ok := readers[e.Name]
	if !ok {
		return false
	}
	loads, register, ok := read(e)
	if ok {
		d.registers.put(register, content{loads: loads})
	}
	return ok
}

// metaLoads are by enum nft_meta_keys.
var metaLoads = sync.OnceValue(func() map[uint64]load {
	return map[uint64]load{
		unix.NFT_META_LEN:       otherLoad("meta length", 4, number, true),
		unix.NFT_META_PROTOCOL:  fieldLoad(iptables.FieldEthertype, "meta protocol", 2, ethertype, false),
		unix.NFT_META_PRIORITY:  otherLoad("meta priority", 4, number, true),
		unix.NFT_META_MARK:      fieldLoad(iptables.FieldMark, "meta mark", 4, mark, true),
		unix.NFT_META_IIF:       fieldLoad(iptables.Field(iptables.InInterface), "iif", 4, index, true),
		unix.NFT_META_OIF:       fieldLoad(iptables.Field(iptables.OutInterface), "oif", 4, index, true),
		unix.NFT_META_IIFNAME:   fieldLoad(iptables.Field(iptables.InInterface), "iifname", 16, name, false),
		unix.NFT_META_OIFNAME:   fieldLoad(iptables.Field(iptables.OutInterface), "oifname", 16, name, false),
		unix.NFT_META_IIFTYPE:   otherLoad("meta iiftype", 2, number, true),
		unix.NFT_META_OIFTYPE:   otherLoad("meta oiftype", 2, number, true),
		unix.NFT_META_SKUID:     fieldLoad(iptables.Field(iptables.OwnerUID), "meta skuid", 4, number, true),
		unix.NFT_META_SKGID:     fieldLoad(iptables.Field(iptables.OwnerGID), "meta skgid", 4, number, true),
		unix.NFT_META_NFTRACE:   otherLoad("meta nftrace", 1, number, false),
		unix.NFT_META_RTCLASSID: otherLoad("meta rtclassid", 4, number, true),
		unix.NFT_META_SECMARK:   otherLoad("meta secmark", 4, number, true),
		unix.NFT_META_NFPROTO:   fieldLoad(iptables.FieldFamily, "meta nfproto", 1, family, false),
		unix.NFT_META_L4PROTO:   fieldLoad(iptables.FieldProtocol, "meta l4proto", 1, protocol, false),
		// Bridges have tables of their own.
		unix.NFT_META_BRI_IIFNAME: otherLoad("meta ibrname", 16, name, false),
		unix.NFT_META_BRI_OIFNAME: otherLoad("meta obrname", 16, name, false),
		unix.NFT_META_PKTTYPE:     fieldLoad(iptables.FieldPacketType, "meta pkttype", 1, packetType, false),
		unix.NFT_META_CPU:         otherLoad("meta cpu", 4, number, true),
		unix.NFT_META_IIFGROUP:    otherLoad("iifgroup", 4, number, true),
		unix.NFT_META_OIFGROUP:    otherLoad("oifgroup", 4, number, true),
		unix.NFT_META_CGROUP:      otherLoad("meta cgroup", 4, number, true),
		unix.NFT_META_PRANDOM:     {key: iptables.Key{Size: 4, Chance: true}, name: "meta random", kind: number},
		// IPsec is between machines, not in a pod.
		25: constantLoad("meta secpath", existence, 0),
		26: otherLoad("meta iifkind", 16, name, false),
		27: otherLoad("meta oifkind", 16, name, false),
		30: otherLoad("meta time", 8, number, true),
		31: otherLoad("meta day", 1, number, false),
		32: otherLoad("meta hour", 4, number, true),
		33: otherLoad("meta sdif", 4, number, true),
		34: otherLoad("meta sdifname", 16, name, false),
	}
})

// readMeta reads "meta load key => reg" (enum nft_meta_attributes).
func readMeta(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, unix.NFTA_META_SREG)
	if !ok || a.has(unix.NFTA_META_SREG) {
		return nil, 0, false
	}
	l, ok := metaLoads()[a.number(unix.NFTA_META_KEY)]
	return []load{l}, a.register(unix.NFTA_META_DREG), ok
}

// ctLoads are by enum nft_ct_keys.
var ctLoads = sync.OnceValue(func() map[uint64]load {
	return map[uint64]load{
		unix.NFT_CT_STATE:      fieldLoad(iptables.FieldState, "ct state", 4, state, true),
		unix.NFT_CT_DIRECTION:  fieldLoad(iptables.FieldDirection, "ct direction", 1, direction, false),
		unix.NFT_CT_STATUS:     fieldLoad(iptables.FieldStatus, "ct status", 4, status, true),
		unix.NFT_CT_MARK:       fieldLoad(iptables.FieldConnMark, "ct mark", 4, mark, true),
		unix.NFT_CT_SECMARK:    otherLoad("ct secmark", 4, number, true),
		unix.NFT_CT_EXPIRATION: otherLoad("ct expiration", 4, number, true),
		unix.NFT_CT_HELPER:     otherLoad("ct helper", 16, name, false),
		unix.NFT_CT_L3PROTOCOL: fieldLoad(iptables.FieldFamily, "ct l3proto", 1, family, false),
		unix.NFT_CT_SRC:        otherLoad("saddr", 0, address, false),
		unix.NFT_CT_DST:        otherLoad("daddr", 0, address, false),
		unix.NFT_CT_PROTOCOL:   fieldLoad(iptables.FieldProtocol, "ct protocol", 1, protocol, false),
		unix.NFT_CT_PROTO_SRC:  otherLoad("proto-src", 2, number, false),
		unix.NFT_CT_PROTO_DST:  otherLoad("proto-dst", 2, number, false),
		unix.NFT_CT_LABELS:     otherLoad("ct label", 16, label, false),
		unix.NFT_CT_PKTS:       otherLoad("packets", 8, number, true),
		unix.NFT_CT_BYTES:      otherLoad("bytes", 8, number, true),
		unix.NFT_CT_AVGPKT:     otherLoad("avgpkt", 8, number, true),
		unix.NFT_CT_ZONE:       fieldLoad(iptables.FieldZone, "ct zone", 2, number, true),
		unix.NFT_CT_EVENTMASK:  otherLoad("ct event", 4, number, true),
		19:                     otherLoad("ip saddr", 4, address, false),
		20:                     otherLoad("ip daddr", 4, address, false),
		21:                     otherLoad("ip6 saddr", 16, address, false),
		22:                     otherLoad("ip6 daddr", 16, address, false),
		23:                     otherLoad("ct id", 4, number, false),
	}
})

// readCt reads "ct load key => reg" (enum nft_ct_attributes).
func (d *decoder) readCt(e expression.Expression) ([]load, uint32, bool) {
	a, ok := attributesOf(e, unix.NFTA_CT_SREG)
	if !ok || a.has(unix.NFTA_CT_SREG) {
		return nil, 0, false
	}
	l, ok := ctLoads()[a.number(unix.NFTA_CT_KEY)]
	if l.key.Size == 0 {
		l.key.Size = expression.SourceOf(d.family).Size
	}
	if a.has(unix.NFTA_CT_DIRECTION) {
		way := "original"
		if a.number(unix.NFTA_CT_DIRECTION) == 1 {
			way = "reply"
		}
		l.name = "ct " + way + " " + l.name
	}
	return []load{l}, a.register(unix.NFTA_CT_DREG), ok
}
