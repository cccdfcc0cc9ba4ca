package expression

import (
	"bytes"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// Expressions are written as github.com/google/nftables writes them.
func TestAdd(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		ours   Any
		theirs expr.Any
	}{
		{&Meta{Key: unix.NFT_META_IIFNAME, Register: 1}, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}},
		{&Meta{Key: unix.NFT_META_MARK, Register: 1, SourceRegister: true}, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}},
		{&Ct{Key: unix.NFT_CT_MARK, Register: 1}, &expr.Ct{Key: expr.CtKeyMARK, Register: 1}},
		{&Ct{Key: unix.NFT_CT_ZONE, Register: 1, SourceRegister: true}, &expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true}},
		{
			&Payload{DestRegister: 1, Base: unix.NFT_PAYLOAD_TRANSPORT_HEADER, Offset: 2, Len: 2},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		},
		{
			&Bitwise{SourceRegister: 1, DestRegister: 2, Len: 4, Mask: []byte{1, 2, 3, 4}, Xor: []byte{5, 6, 7, 8}},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 2, Len: 4, Mask: []byte{1, 2, 3, 4}, Xor: []byte{5, 6, 7, 8}},
		},
		{
			&Byteorder{SourceRegister: 1, DestRegister: 2, Op: unix.NFT_BYTEORDER_HTON, Len: 4, Size: 4},
			&expr.Byteorder{SourceRegister: 1, DestRegister: 2, Op: expr.ByteorderHton, Len: 4, Size: 4},
		},
		{&Cmp{Op: unix.NFT_CMP_NEQ, Register: 1, Data: []byte("eth0\x00")}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte("eth0\x00")}},
		{&Cmp{Op: unix.NFT_CMP_GTE, Register: 1, Data: []byte{1}}, &expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{1}}},
		{
			&Range{Op: unix.NFT_CMP_NEQ, Register: 1, FromData: []byte{0, 1}, ToData: []byte{0, 2}},
			&expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: []byte{0, 1}, ToData: []byte{0, 2}},
		},
		{&Lookup{SourceRegister: 1, SetName: "set", SetID: 3}, &expr.Lookup{SourceRegister: 1, SetName: "set", SetID: 3}},
		{&Lookup{SourceRegister: 1, SetName: "set", SetID: 3, Invert: true}, &expr.Lookup{SourceRegister: 1, SetName: "set", SetID: 3, Invert: true}},
		{&Counter{Packets: 1, Bytes: 2}, &expr.Counter{Packets: 1, Bytes: 2}},
		{&Immediate{Register: 1, Data: []byte{1, 2}}, &expr.Immediate{Register: 1, Data: []byte{1, 2}}},
		{&Verdict{Kind: VerdictAccept}, &expr.Verdict{Kind: expr.VerdictAccept}},
		{&Verdict{Kind: VerdictDrop}, &expr.Verdict{Kind: expr.VerdictDrop}},
		{&Verdict{Kind: VerdictContinue}, &expr.Verdict{Kind: expr.VerdictContinue}},
		{&Verdict{Kind: VerdictReturn}, &expr.Verdict{Kind: expr.VerdictReturn}},
		{&Verdict{Kind: VerdictJump, Chain: "CHAIN"}, &expr.Verdict{Kind: expr.VerdictJump, Chain: "CHAIN"}},
		{&Verdict{Kind: VerdictGoto, Chain: "CHAIN"}, &expr.Verdict{Kind: expr.VerdictGoto, Chain: "CHAIN"}},
		{&Redir{}, &expr.Redir{}},
		{&Redir{RegisterProtoMin: 1, RegisterProtoMax: 2, Flags: 2}, &expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 2, Flags: 2}},
		{
			&NAT{Type: unix.NFT_NAT_SNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegAddrMax: 1},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegAddrMax: 1},
		},
		{&TProxy{Family: unix.NFPROTO_IPV6, RegPort: 1}, &expr.TProxy{Family: unix.NFPROTO_IPV6, RegPort: 1}},
		{&TProxy{Family: unix.NFPROTO_IPV6, RegPort: 1, RegAddr: 2}, &expr.TProxy{Family: unix.NFPROTO_IPV6, RegPort: 1, RegAddr: 2}},
	} {
		var e Encoder
		e.Add(x.ours)
		check(t, x.theirs, &e)
	}
	info := xt.Unknown("12345678")
	for _, x := range []expr.Any{&expr.Match{Name: "tcp", Rev: 1, Info: &info}, &expr.Target{Name: "tcp", Rev: 1, Info: &info}} {
		var e Encoder
		kind := "match"
		if _, isTarget := x.(*expr.Target); isTarget {
			kind = "target"
		}
		e.Extension(kind, "tcp", 1, info)
		check(t, x, &e)
	}
}

func check(t *testing.T, x expr.Any, e *Encoder) {
	t.Helper()
	data, err := expr.Marshal(unix.NFPROTO_UNSPEC, x)
	if err != nil {
		t.Fatal(err)
	}
	var want netlink.Builder
	want.PutBytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	got, err := e.Bytes()
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%T: got %x (%v), want %x", x, got, err, want.Bytes())
	}
}

func TestAddUnknown(t *testing.T) {
	t.Parallel()
	var e Encoder
	e.Add(&expr.Notrack{})
	if _, err := e.Bytes(); err == nil {
		t.Error("no error")
	}
}
