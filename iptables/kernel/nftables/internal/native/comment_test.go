package native

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

func TestComment(t *testing.T) {
	t.Parallel()
	list := strings.TrimSuffix(strings.Repeat("8080,", 30), ",")
	for _, r := range []iptables.Rule{
		{Origin: iptables.Origin{Option: "--redirect-dns"}},
		{Origin: iptables.Origin{Option: "--redirect-dns"}, Reason: "why"},
		{Origin: iptables.Origin{Option: "--excluded-ports", Value: "80,8000:8010"}, Reason: "why, oh why"},
		{Origin: iptables.Origin{Option: "--excluded-cidrs", Value: "fd00::/8,::1/128"}, Reason: "why"},
		{Origin: iptables.Origin{Option: iptables.BuiltIn, Value: "loopback"}},
		{Origin: iptables.Origin{Option: "--excluded-ports", Value: list}},
		{Origin: iptables.Origin{Option: "--excluded-ports", Value: list}, Reason: strings.Repeat("why ", 20)},
	} {
		comment := commentOf(&r)
		if len(comment) >= maxComment {
			t.Errorf("%q has %d bytes", comment, len(comment))
		}
		origin, reason := readComment(tables.Comment(comment))
		if origin != r.Origin && !origin.IsShortened() || origin.Option != r.Origin.Option || reason != r.Reason {
			t.Errorf("%q is read as %s because %q", comment, origin, reason)
		}
	}
	for _, foreign := range []string{"", "mine: really", "the proxy does not listen"} {
		if origin, reason := readComment(tables.Comment(foreign)); reason != "" || origin != (iptables.Origin{}) {
			t.Errorf("%q is read as %s because %q", foreign, origin, reason)
		}
	}
}
