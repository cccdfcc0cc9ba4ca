package foreign_test

import (
	"fmt"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
)

func TestFirst(t *testing.T) {
	const own = "-A OUTPUT -j ISTIO_OUTPUT\n"
	nat := func(rules string) string {
		return "*nat\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:ISTIO_INBOUND -\n:ISTIO_OUTPUT -\n:OTHER -\n" + rules + "COMMIT\n"
	}
	for name, test := range map[string]struct{ text, want string }{
		"none":           {nat(own), ""},
		"before":         {nat("-A OUTPUT -d 10.0.0.0/8 -j ACCEPT\n" + own), "nat OUTPUT 1"},
		"second":         {nat("-A OUTPUT -j LOG\n-A OUTPUT -p tcp\n-A OUTPUT -j OTHER\n" + own), "nat OUTPUT 3"},
		"between":        {nat(own + "-A OUTPUT -j OTHER\n" + own), "nat OUTPUT 2"},
		"after":          {nat(own + "-A OUTPUT -j ACCEPT\n"), ""},
		"other hook":     {nat("-A PREROUTING -j ACCEPT\n" + own), ""},
		"tells":          {nat("-A OUTPUT -j LOG\n-A OUTPUT -p tcp\n" + own), ""},
		"earlier table":  {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n" + nat(own), "mangle OUTPUT 1"},
		"accepts early":  {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j ACCEPT\nCOMMIT\n" + nat(own), ""},
		"accepts before": {"*mangle\n:OUTPUT ACCEPT\n:ISTIO_X -\n-A OUTPUT -j ACCEPT\n-A OUTPUT -j ISTIO_X\nCOMMIT\n" + nat(own), "mangle OUTPUT 1"},
		"accepts after":  {"*mangle\n:OUTPUT ACCEPT\n:ISTIO_X -\n-A OUTPUT -j ISTIO_X\n-A OUTPUT -j ACCEPT\nCOMMIT\n" + nat(own), ""},
		"returns early":  {"*raw\n:OUTPUT ACCEPT\n-A OUTPUT -j RETURN\nCOMMIT\n" + nat(own), ""},
		"policy":         {"*mangle\n:OUTPUT DROP\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n" + nat(own), "mangle OUTPUT 0"},
		"policy after":   {"*mangle\n:OUTPUT DROP\n:ISTIO_X -\n-A OUTPUT -j ISTIO_X\nCOMMIT\n", ""},
		"policy unmet":   {"*mangle\n:OUTPUT DROP\n-A OUTPUT -j ACCEPT\nCOMMIT\n" + nat(own), ""},
		"returns to it":  {"*raw\n:OUTPUT DROP\n-A OUTPUT -j RETURN\nCOMMIT\n" + nat(own), "raw OUTPUT 0"},
		"nothing of us":  {nat("-A OUTPUT -j ACCEPT\n"), ""},
		"not walked":     {"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n" + nat(own), ""},
		"inbound before": {nat("-A PREROUTING -j OTHER\n-A PREROUTING -j ISTIO_INBOUND\n-A OUTPUT -j OTHER\n" + own), "nat PREROUTING 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := installed.Alone(*parse(t, test.text), owned)
			got := ""
			if s, ok := foreign.First(path, iptables.IPv4); ok {
				got = fmt.Sprintf("%s %s %d", s.Table, s.Chain, s.Position)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if _, ok := foreign.First(path, iptables.IPv6); ok {
				t.Error("there are none for IPv6")
			}
		})
	}
}
