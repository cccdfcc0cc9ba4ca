package compat

import (
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// Forms that iptables 1.8.9 does not write, so that the kernel tests do not meet
// them: those of other releases and of nft, and what must not be mistaken for
// something known.
func TestDecode(t *testing.T) {
	meta := func(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: 1} }
	compare := func(op expr.CmpOp, data ...byte) expr.Any { return &expr.Cmp{Op: op, Register: 1, Data: data} }
	load := func(base expr.PayloadBase, offset, size uint32) expr.Any {
		return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}
	}
	mask := func(mask ...byte) expr.Any {
		return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
	}
	const network, transport = expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	tcp := []expr.Any{meta(expr.MetaKeyL4PROTO), compare(expr.CmpOpEq, unix.IPPROTO_TCP)}
	tests := []struct {
		name  string
		exprs []expr.Any
		want  string
	}{
		{"empty", nil, ""},
		{"whole address masked", []expr.Any{load(network, 12, 4), mask(255, 0, 0, 0), compare(expr.CmpOpEq, 10, 0, 0, 0)}, "-s 10.0.0.0/8"},
		{"mask with a hole", []expr.Any{load(network, 12, 4), mask(255, 0, 255, 0), compare(expr.CmpOpEq, 10, 0, 1, 0)}, "*nft*"},
		{"bits beyond the mask", []expr.Any{load(network, 12, 4), mask(255, 0, 0, 0), compare(expr.CmpOpEq, 10, 1, 0, 0)}, "*nft*"},
		{"other field", []expr.Any{load(network, 9, 1), compare(expr.CmpOpEq, 6)}, "*nft*"},
		{"address compared by order", []expr.Any{load(network, 12, 4), compare(expr.CmpOpLt, 10, 0, 0, 0)}, "*nft*"},
		{"second source", []expr.Any{
			load(network, 12, 1), compare(expr.CmpOpEq, 10), load(network, 12, 1), compare(expr.CmpOpNeq, 11),
		}, "-s 10.0.0.0/8 *nft*"},
		{"interface of 16 bytes", []expr.Any{meta(expr.MetaKeyOIFNAME), compare(expr.CmpOpEq, []byte("lo\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")...)}, "-o lo"},
		{"interface index", []expr.Any{meta(expr.MetaKeyOIF), compare(expr.CmpOpEq, 1, 0, 0, 0)}, "*nft*"},
		{"port without protocol", []expr.Any{load(transport, 2, 2), compare(expr.CmpOpEq, 0, 80)}, "*nft*"},
		{"port of not tcp", []expr.Any{
			meta(expr.MetaKeyL4PROTO), compare(expr.CmpOpNeq, unix.IPPROTO_TCP), load(transport, 2, 2), compare(expr.CmpOpEq, 0, 80),
		}, "! -p tcp *nft*"},
		{"both ports", append(tcp[:2:2], load(transport, 0, 4), compare(expr.CmpOpEq, 0, 80, 0, 81)), "-p tcp -m tcp --sport 80 --dport 81"},
		{"not both ports", append(tcp[:2:2], load(transport, 0, 4), compare(expr.CmpOpNeq, 0, 80, 0, 81)), "-p tcp *nft*"},
		{"other register", append(tcp[:2:2], load(transport, 2, 2), &expr.Cmp{Register: 2, Data: []byte{0, 80}}), "-p tcp *nft*"},
		{"condition after the verdict", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}, meta(expr.MetaKeyMARK)}, "*nft*-j DROP"},
		{"native target", []expr.Any{&expr.Counter{}, &expr.Masq{}}, "-j nft masq (not understood)"},
		{"queue", []expr.Any{&expr.Verdict{Kind: expr.VerdictContinue}}, "-j nft immediate*"},
		{"two counters", []expr.Any{&expr.Counter{}, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept}}, "-m nft counter*-j ACCEPT"},
		{"owner of a socket", []expr.Any{xtMatch("owner", 1, structure{}.zeros(16).u8(4, 0))}, "-m owner --socket-exists"},
		{"other revision", []expr.Any{xtMatch("owner", 0, structure{}.zeros(16).u8(1, 0))}, "-m owner (not understood)"},
		{"struct cut short", []expr.Any{xtMatch("owner", 1, structure{}.u8(1))}, "-m owner (not understood)"},
		{"comment", []expr.Any{xtMatch("comment", 0, structure([]byte("it's")).zeros(252))}, `-m comment --comment "it\'s"`},
		{"comment of two lines", []expr.Any{xtMatch("comment", 0, structure([]byte("a\nb")).zeros(253))}, "-m comment (not understood)"},
		{"comment with a rest", []expr.Any{xtMatch("comment", 0, structure([]byte("a\x00b")).zeros(253))}, "-m comment (not understood)"},
		{"tcp flags", append(tcp[:2:2], xtMatch("tcp", 0, structure{}.u16(0, 65535, 80, 80).u8(0, 2, 2, 0))), "-p tcp -m tcp --dport 80 --tcp-flags SYN SYN"},
		{"older CONNMARK", []expr.Any{xtTarget("CONNMARK", 1, structure{}.u32(0, 255, 15).u8(connmarkSave))}, "-j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff"},
		{"older CONNMARK, set", []expr.Any{xtTarget("CONNMARK", 1, structure{}.u32(1, 255, iptables.FullMask).u8(connmarkSet))}, "-j CONNMARK --set-xmark 0x1/0xff"},
		{"NOTRACK", []expr.Any{xtTarget("CT", 2, structure{}.u16(1).zeros(70))}, "-j CT --notrack"},
		{"REDIRECT at random", []expr.Any{xtTarget("REDIRECT", 0, structure{}.u32(1, 2|4).zeros(8).be16(80, 80))}, "-j REDIRECT --to-ports 80 --random"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := decodeRule(iptables.IPv4, asDumped(t, tt.exprs))
			if got := r.String(); !wildcard(tt.want, got) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// An attribute that nobody knows makes the expression unknown.
func TestDecodeUnknownAttribute(t *testing.T) {
	t.Parallel()
	e := asDumped(t, []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{1, 0, 0, 0}}})
	var b netlink.Builder
	b.PutUint32(77, 1)
	e[1].Data = append(e[1].Data[:len(e[1].Data):len(e[1].Data)], b.Bytes()...)
	if r := decodeRule(iptables.IPv4, e); len(r.Matches) != 1 || r.Target == nil {
		t.Errorf("got %s", r)
	}
}

// The list of conntrack states is the one place where bits are reordered.
func TestConntrackStatesOnTheWire(t *testing.T) {
	x := encodeConntrack(iptables.Conntrack{States: iptables.StateUntracked | iptables.StateInvalid})
	// XT_CONNTRACK_STATE_UNTRACKED is 1 << (IP_CT_NUMBER + 3).
	if got := binary.NativeEndian.Uint16(x.info[conntrackFlags+4:]); got != 1<<8|1 {
		t.Errorf("state_mask is %#x", got)
	}
}

func xtMatch(name string, revision uint32, s structure) expr.Any {
	return &expr.Match{Name: name, Rev: revision, Info: xtUnknown(name, revision, s)}
}

func xtTarget(name string, revision uint32, s structure) expr.Any {
	return &expr.Target{Name: name, Rev: revision, Info: xtUnknown(name, revision, s)}
}

func xtUnknown(name string, revision uint32, s structure) xt.InfoAny {
	info := xt.Unknown(newExtension(name, revision, s).info)
	return &info
}

// asDumped brings expressions into the form in which the kernel hands them out.
func asDumped(t testing.TB, exprs []expr.Any) []expression.Expression {
	t.Helper()
	var b netlink.Builder
	for _, e := range exprs {
		data, err := expr.Marshal(unix.NFPROTO_IPV4, e)
		if err != nil {
			t.Fatal(err)
		}
		b.PutBytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	}
	return expression.Append(nil, b.Bytes())
}

// wildcard matches a pattern in which "*" stands for anything.
func wildcard(pattern, s string) bool {
	parts := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("^" + parts + "$").MatchString(s)
}
