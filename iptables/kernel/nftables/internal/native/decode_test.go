package native

import (
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// The native form has nothing of xtables, not even a target that does the same.
func TestDecodeExtension(t *testing.T) {
	t.Parallel()
	var e expression.Encoder
	info := xt.Unknown(make([]byte, 24))
	e.Add(&expr.Counter{}, &expr.Target{Name: "REDIRECT", Info: &info})
	exprs, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := decode(expression.Append(nil, exprs), nil)
	if got := r.rule.String(); !strings.HasPrefix(got, "-j nft target 0x") {
		t.Errorf("got %s", got)
	}
}
