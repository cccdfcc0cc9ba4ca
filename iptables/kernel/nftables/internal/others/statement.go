package others

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// statement reads an expression that does something, or that depends on more than the
// packet.
func (d *decoder) statement(e expression.Expression) bool {
	switch e.Name {
	case "immediate":
		return d.immediate(e)
	case "counter":
		d.counters.Packets, d.counters.Bytes, _ = e.Counter()
		return true
	case "last":
		return true
	case "match", "target":
		return d.extension(e)
	case "nat", "masq", "redir":
		return d.translate(e)
	case "tproxy":
		return d.tproxy(e)
	case "reject":
		return d.reject(e)
	case "log":
		return d.log(e)
	case "queue":
		return d.queue(e)
	case "notrack":
		return d.target("CT", "--notrack")
	case "meta", "ct":
		return d.setField(e)
	case "limit":
		return d.limit(e)
	case "quota", "connlimit":
		return d.doubt(limitWords(e), false)
	case "objref":
		return d.object(e)
	case "dynset":
		return d.dynset(e)
	}
	return d.rareStatement(e)
}

// rareStatement reads those that packets of pods seldom meet.
func (d *decoder) rareStatement(e expression.Expression) bool {
	a, _ := attributesOf(e, 0xffff)
	switch e.Name {
	case "dup":
		return d.target("TEE", d.gateway(a.register(unix.NFTA_DUP_SREG_ADDR))...)
	case "fwd":
		return d.end(iptables.Statement{Words: "fwd to another interface"})
	case "synproxy":
		return d.target("SYNPROXY")
	case "flow_offload":
		return d.passes("flow add @" + a.text(1))
	case "payload":
		return d.write(a)
	case "exthdr":
		return d.passes("an option of the header is changed")
	}
	return false
}

// gateway returns TEE's words for a constant address.
func (d *decoder) gateway(register uint32) []string {
	if addr, ok := netip.AddrFromSlice(d.registers.get(register).constant); ok {
		return []string{"--gateway", addr.String()}
	}
	return nil
}

// write reads "payload write reg => len @ base + offset": other fields than addresses and
// ports are not what rules ask for.
func (d *decoder) write(a attributes) bool {
	base := expression.PayloadBase(a.number(unix.NFTA_PAYLOAD_BASE))
	at := d.headerAt(base, uint32(a.number(unix.NFTA_PAYLOAD_OFFSET)), uint32(a.number(unix.NFTA_PAYLOAD_LEN)))
	effects := map[iptables.Field]iptables.Effect{
		iptables.Field(iptables.SourceAddress):      iptables.Renames,
		iptables.Field(iptables.SourcePort):         iptables.Renames,
		iptables.Field(iptables.DestinationAddress): iptables.Rewrites,
		iptables.Field(iptables.DestinationPort):    iptables.Rewrites,
	}
	does, changes := effects[at.key.Field]
	if !changes {
		return d.passes("a field of the header is changed")
	}
	value := "a value"
	if b := d.registers.get(a.register(unix.NFTA_PAYLOAD_SREG)).constant; len(b) == at.key.Size {
		value = at.kind.text(iptables.Value(b))
	}
	return d.do(iptables.Statement{Words: at.name + " set " + value, Does: does})
}

// rejections are iptables' words for the codes of ICMP, ICMPv6, and enum
// nft_reject_inet_code.
var rejections = sync.OnceValue(func() map[iptables.Family][]string {
	return map[iptables.Family][]string{
		iptables.IPv4: {
			0: "icmp-net-unreachable", 1: "icmp-host-unreachable", 2: "icmp-proto-unreachable", 3: "icmp-port-unreachable",
			9: "icmp-net-prohibited", 10: "icmp-host-prohibited", 13: "icmp-admin-prohibited",
		},
		iptables.IPv6: {
			0: "icmp6-no-route", 1: "icmp6-adm-prohibited", 3: "icmp6-addr-unreachable", 4: "icmp6-port-unreachable",
			5: "icmp6-policy-fail", 6: "icmp6-reject-route",
		},
	}
})

var inetRejections = sync.OnceValue(func() map[iptables.Family][]uint64 {
	return map[iptables.Family][]uint64{iptables.IPv4: {0, 3, 1, 13}, iptables.IPv6: {0, 4, 3, 1}}
})

// reject reads "reject type code" (enum nft_reject_attributes, enum nft_reject_types).
func (d *decoder) reject(e expression.Expression) bool {
	const reset, inet = 1, 2
	a, _ := attributesOf(e, 0xffff)
	code := a.number(unix.NFTA_REJECT_ICMP_CODE)
	with := ""
	switch a.number(unix.NFTA_REJECT_TYPE) {
	case reset:
		with = "tcp-reset"
	case inet:
		if code < uint64(len(inetRejections()[d.family])) {
			code = inetRejections()[d.family][code]
		}
		fallthrough
	default:
		if with == "" && code < uint64(len(rejections()[d.family])) {
			with = rejections()[d.family][code]
		}
	}
	if with == "" {
		return d.end(iptables.UnknownTarget{Name: "REJECT"})
	}
	return d.end(iptables.UnknownTarget{Name: "REJECT", Args: []string{"--reject-with", with}})
}

// log reads "log prefix group level" (enum nft_log_attributes). A group makes it NFLOG of
// iptables.
func (d *decoder) log(e expression.Expression) bool {
	const audit = 8 // enum nft_log_level
	a, _ := attributesOf(e, 0xffff)
	prefix := a.text(unix.NFTA_LOG_PREFIX)
	var args []string
	add := func(option, value string) { args = append(args, option, value) }
	switch level := a.number(unix.NFTA_LOG_LEVEL); {
	case a.has(unix.NFTA_LOG_GROUP):
		if prefix != "" {
			add("--nflog-prefix", iptables.Quote(prefix))
		}
		for _, o := range []struct {
			option string
			kind   uint16
		}{{"--nflog-group", unix.NFTA_LOG_GROUP}, {"--nflog-size", unix.NFTA_LOG_SNAPLEN}, {"--nflog-threshold", unix.NFTA_LOG_QTHRESHOLD}} {
			if n := a.number(o.kind); n != 0 {
				add(o.option, strconv.FormatUint(n, 10))
			}
		}
		return d.target("NFLOG", args...)
	case level == audit:
		return d.target("AUDIT")
	default:
		if prefix != "" {
			add("--log-prefix", quote(prefix))
		}
		if a.has(unix.NFTA_LOG_LEVEL) && level != 4 {
			add("--log-level", strconv.FormatUint(level, 10))
		}
		return d.target("LOG", args...)
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// queue reads "queue num n" (enum nft_queue_attributes).
func (d *decoder) queue(e expression.Expression) bool {
	const bypass = 1
	a, _ := attributesOf(e, 0xffff)
	var args []string
	first, total := a.number(unix.NFTA_QUEUE_NUM), a.number(unix.NFTA_QUEUE_TOTAL)
	switch {
	case total > 1:
		args = []string{"--queue-balance", fmt.Sprintf("%d:%d", first, first+total-1)}
	case a.has(unix.NFTA_QUEUE_NUM):
		args = []string{"--queue-num", strconv.FormatUint(first, 10)}
	}
	if a.number(unix.NFTA_QUEUE_FLAGS)&bypass != 0 {
		args = append(args, "--queue-bypass")
	}
	return d.end(iptables.UnknownTarget{Name: "NFQUEUE", Args: args})
}

// limit reads a limit that the match of iptables may be.
func (d *decoder) limit(e expression.Expression) bool {
	const usual = 5 // XT_LIMIT_BURST in iptables' extensions/libxt_limit.c
	units := map[uint64]string{1: "sec", 60: "min", 3600: "hour", 86400: "day"}
	a, _ := attributesOf(e, 0xffff)
	unit, ok := units[a.number(unix.NFTA_LIMIT_UNIT)]
	if !ok || a.number(unix.NFTA_LIMIT_TYPE) == unix.NFT_LIMIT_PKT_BYTES || a.number(unix.NFTA_LIMIT_FLAGS) != 0 {
		return d.doubt(limitWords(e), false)
	}
	args := []string{"--limit", fmt.Sprintf("%d/%s", a.number(unix.NFTA_LIMIT_RATE), unit)}
	if burst := a.number(unix.NFTA_LIMIT_BURST); burst != usual {
		args = append(args, "--limit-burst", strconv.FormatUint(burst, 10))
	}
	d.match(iptables.UnknownMatch{Name: "limit", Args: args})
	return true
}

// limitUnits are the units of time of limits in seconds.
var limitUnits = sync.OnceValue(func() map[uint64]string {
	return map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}
})

// limitWords returns nft's words of a limit (enum nft_limit_attributes), a quota (enum
// nft_quota_attributes) or a number of connections (enum nft_connlimit_attributes).
func limitWords(e expression.Expression) string {
	const over = 1
	a, _ := attributesOf(e, 0xffff)
	is := func(flags uint16) string {
		if a.number(flags)&over != 0 {
			return "over "
		}
		return ""
	}
	switch e.Name {
	case "quota":
		return fmt.Sprintf("quota %s%d bytes", is(unix.NFTA_QUOTA_FLAGS), a.number(unix.NFTA_QUOTA_BYTES))
	case "connlimit":
		return fmt.Sprintf("ct count %s%d", is(2), a.number(1))
	}
	unit, ok := limitUnits()[a.number(unix.NFTA_LIMIT_UNIT)]
	if !ok {
		unit = fmt.Sprintf("%d seconds", a.number(unix.NFTA_LIMIT_UNIT))
	}
	what := ""
	if a.number(unix.NFTA_LIMIT_TYPE) == unix.NFT_LIMIT_PKT_BYTES {
		what = " bytes"
	}
	return fmt.Sprintf("limit rate %s%d%s/%s burst %d", is(unix.NFTA_LIMIT_FLAGS), a.number(unix.NFTA_LIMIT_RATE),
		what, unit, a.number(unix.NFTA_LIMIT_BURST))
}

// object reads "objref type name" (enum nft_objref_attributes, NFT_OBJECT_*).
func (d *decoder) object(e expression.Expression) bool {
	const counter, quota, helper, limit, connlimit, timeout, secmark, expectation, synproxy = 1, 2, 3, 4, 5, 7, 8, 9, 10
	a, _ := attributesOf(e, 0xffff)
	object := a.text(unix.NFTA_OBJREF_IMM_NAME)
	if !a.has(unix.NFTA_OBJREF_IMM_TYPE) {
		return d.doubt("an object of @"+a.text(unix.NFTA_OBJREF_SET_NAME), false)
	}
	switch a.number(unix.NFTA_OBJREF_IMM_TYPE) {
	case counter:
		return true
	case quota:
		return d.doubt("quota name "+quote(object), false)
	case limit:
		return d.doubt("limit name "+quote(object), false)
	case connlimit:
		return d.doubt("ct count name "+quote(object), false)
	case helper:
		return d.target("CT", "--helper", object)
	case timeout:
		return d.target("CT", "--timeout", object)
	case secmark:
		return d.target("SECMARK")
	case expectation:
		return d.passes("ct expectation set " + quote(object))
	case synproxy:
		return d.target("SYNPROXY")
	}
	return d.do(iptables.Statement{Words: "the object " + quote(object)})
}

// dynset reads "dynset op key set" (enum nft_dynset_attributes). Without expressions it
// changes a set, which holds for every packet that the set has room for.
func (d *decoder) dynset(e expression.Expression) bool {
	const setName, op, key, expr, flags, expressions, inverted, delete = 1, 3, 4, 7, 9, 10, 1, 2
	a, _ := attributesOf(e, 0xffff)
	how := "add"
	switch a.number(op) {
	case 1:
		how = "update"
	case delete:
		how = "delete"
	}
	words := fmt.Sprintf("%s @%s { %s", how, a.text(setName), names(d.registers.get(a.register(key)).loads))
	var inner []expression.Expression
	if a.has(expressions) {
		inner = expression.Append(nil, a[expressions])
	} else if a.has(expr) {
		inner = expression.Append(nil, wrap(a[expr]))
	}
	decides := a.number(flags)&inverted != 0
	for _, x := range inner {
		switch x.Name {
		case "limit", "quota", "connlimit":
			decides = true
			words += " " + limitWords(x)
		}
	}
	if words += " }"; decides {
		return d.doubt(words, false)
	}
	return d.passes(words)
}
