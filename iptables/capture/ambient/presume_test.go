package ambient

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// What rules do not say is left to the namespace, or comes from its routing.
func TestPresume(t *testing.T) {
	t.Parallel()
	lookups := []iptables.Lookup{
		{Mark: 0x111, Mask: iptables.FullMask, Table: 70}, {Mark: 0x111, Mask: 0xfff, Table: 77}, {Mark: 0x111, Mask: 0xfff, Table: 78},
	}
	for name, test := range map[string]struct {
		found     func(*Config)
		commented bool
		want      func(*Config)
	}{
		"IPv4 alone":    {func(c *Config) { c.IPv6 = capture.IPv6Off }, false, func(c *Config) { c.RoutingTable = 77 }},
		"both families": {func(c *Config) { c.IPv6 = capture.IPv6On }, false, func(c *Config) { c.IPv6, c.RoutingTable = capture.IPv6On, 77 }},
		"comments":      {func(*Config) {}, true, func(c *Config) { c.Comments, c.RoutingTable = true, 77 }},
		"another mark":  {func(c *Config) { c.ConnectionMark.Value = 0x222 }, false, func(c *Config) { c.ConnectionMark.Value = 0x222 }},
	} {
		found, want := Default(), Default()
		test.found(&found)
		test.want(&want)
		got := Policy{}.Presume(capture.Recognised{Wanted: found, Commented: test.commented}, lookups)
		if diff := diffConfig(got.(Config), want); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
