package ambient

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
)

// wantParsed fails the test unless the arguments of a Config say all that differs from
// the defaults.
func wantParsed(t *testing.T, c Config) {
	t.Helper()
	again, err := capture.Parse(Policy{}, c.Arguments())
	if err != nil {
		t.Fatalf("%q are refused: %v", c.Arguments(), err)
	}
	if diff := diffConfig(again.(Config), c); diff != "" {
		t.Errorf("%q (-want +got):\n%s", c.Arguments(), diff)
	}
}

// Every option that differs from its default is an argument, and no other is. So are any
// options together.
func TestArguments(t *testing.T) {
	t.Parallel()
	if got := Default().Arguments(); len(got) > 0 {
		t.Errorf("by default: got %q", got)
	}
	for _, test := range optionTests() {
		c := Default()
		test.want(&c)
		wantParsed(t, c)
		name := test.name
		if name == "dual-stack" {
			name = "ipv6"
		}
		if got := c.Arguments(); len(got) != 1 || !strings.HasPrefix(got[0], "--"+name+"=") {
			t.Errorf("--%s: got %q", test.name, got)
		}
	}
	random := rand.New(rand.NewPCG(20261130, 7))
	for range 500 {
		c := Default()
		for _, test := range optionTests() {
			if random.IntN(2) == 0 {
				test.want(&c)
			}
		}
		wantParsed(t, c)
	}
}
