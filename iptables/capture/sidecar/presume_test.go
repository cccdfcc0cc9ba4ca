package sidecar

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// What rules do not say is left to the namespace, or comes from its routing.
func TestPresume(t *testing.T) {
	t.Parallel()
	lookups := []iptables.Lookup{{Mark: 7, Table: 70}, {Mark: 1337, Table: 77}, {Mark: 1337, Table: 78}}
	tproxy := func(c *Config) { c.Mode = ModeTProxy }
	for name, test := range map[string]struct {
		found     Config
		commented bool
		want      func(*Config)
	}{
		"IPv4 alone":    {with(func(c *Config) { c.IPv6 = IPv6Off }), false, func(*Config) {}},
		"both families": {with(func(c *Config) { c.IPv6 = IPv6On }), false, func(c *Config) { c.IPv6 = IPv6On }},
		"comments":      {Default(), true, func(c *Config) { c.Comments = true }},
		"TPROXY":        {with(tproxy), false, func(c *Config) { tproxy(c); c.TProxyTable = 77 }},
		"another mark": {with(func(c *Config) { tproxy(c); c.TProxyMark = 9 }), false, func(c *Config) {
			tproxy(c)
			c.TProxyMark = 9
		}},
	} {
		got := Policy{}.Presume(capture.Recognised{Wanted: test.found, Commented: test.commented}, lookups)
		if diff := diffConfig(got.(Config), with(test.want)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
