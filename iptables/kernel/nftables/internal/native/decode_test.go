package native

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// The native form has nothing of xtables, not even a target that does the same.
func TestDecodeExtension(t *testing.T) {
	t.Parallel()
	var e expression.Encoder
	e.Add(&expression.Counter{})
	e.Extension("target", "REDIRECT", 0, make([]byte, 24))
	exprs, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := decode(expression.Append(nil, exprs), nil)
	if got := r.rule.String(); got != "-j nft target (not understood)" {
		t.Errorf("got %s", got)
	}
}

// Every target is read with a counter before it, as we write it, and without, as nft
// does unless it is told.
func TestDecodeTarget(t *testing.T) {
	t.Parallel()
	for _, target := range []iptables.Target{
		iptables.Accept, iptables.Drop, iptables.Return,
		iptables.Jump{Chain: "ISTIO_X"}, iptables.Goto{Chain: "ISTIO_X"},
		iptables.Redirect{}, iptables.Redirect{Ports: iptables.PortRange{First: 1, Last: 2}},
		iptables.TProxy{Port: 1, IP: netip.MustParseAddr("127.0.0.1"), Mark: 1, Mask: iptables.FullMask},
		iptables.SetMark{Value: 1, Mask: iptables.FullMask}, iptables.SetMark{Value: 1, Mask: 3},
		iptables.SetConnmark{Value: 1, Mask: iptables.FullMask}, iptables.SetConnmark{Value: 1, Mask: 3},
		iptables.SaveMark{PacketMask: 3, ConnectionMask: iptables.FullMask},
		iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: 3},
		iptables.CTZone{Zone: 1},
	} {
		want := rule{family: iptables.IPv4, rule: iptables.Rule{Target: target}}
		var e expression.Encoder
		encode(&e, want, nil)
		b, err := e.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		exprs := expression.Append(nil, b)
		without := slices.DeleteFunc(slices.Clone(exprs), func(e expression.Expression) bool { return e.Name == "counter" })
		if got := decode(exprs, nil); got.text() != want.text() || got.family != want.family || got.uncounted {
			t.Errorf("got %s (uncounted: %v), want %s", got.rule, got.uncounted, want.rule)
		}
		if got := decode(without, nil); got.text() != want.text() || got.family != want.family || !got.uncounted {
			t.Errorf("without a counter: got %s (uncounted: %v), want %s", got.rule, got.uncounted, want.rule)
		}
	}
}
