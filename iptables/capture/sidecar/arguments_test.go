package sidecar

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// wantParsed fails the test unless the arguments of a Config say all that differs from
// the defaults.
func wantParsed(t *testing.T, c Config) {
	t.Helper()
	again, err := capture.Parse(Policy{}, c.Arguments())
	if err != nil {
		t.Fatalf("%q are refused: %v", c.Arguments(), err)
	}
	wantConfig(t, again.(Config), err, c)
}

// Every option that differs from its default is an argument, and no other is.
func TestArguments(t *testing.T) {
	t.Parallel()
	byDefault := []string{"--proxy-uid=1337"}
	if got := Default().Arguments(); !slices.Equal(got, byDefault) {
		t.Errorf("by default: got %q", got)
	}
	for _, test := range optionTests() {
		c := with(test.want)
		wantParsed(t, c)
		name := test.name
		if name == "dual-stack" {
			name = "ipv6"
		}
		got := slices.DeleteFunc(c.Arguments(), func(arg string) bool { return arg == byDefault[0] })
		if len(got) != 1 || !strings.HasPrefix(got[0], "--"+name+"=") {
			t.Errorf("--%s: got %q", test.name, got)
		}
	}
}

// So are any options together.
func TestArgumentsTogether(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(20261129, 7))
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

// Nothing but the arguments says what they mean.
func TestArgumentsAnywhere(t *testing.T) {
	t.Parallel()
	c, _, err := read(t, []string{"--excluded-groups=mesh"}, config.Sources{Env: []string{"ENVOY_USER=envoy"}, Users: testUsers()})
	wantConfig(t, c, err, with(func(c *Config) {
		c.ProxyUIDs, c.ProxyGIDs, c.ExcludedGroups = []uint32{101}, []uint32{101}, []uint32{303}
	}))
	if want := []string{"--proxy-uid=101", "--excluded-groups=303"}; !slices.Equal(c.Arguments(), want) {
		t.Errorf("got %q, want %q", c.Arguments(), want)
	}
	wantParsed(t, c)
	if _, err := capture.Parse(Policy{}, []string{"--banana"}); err == nil {
		t.Error("an unknown option is read")
	}
	if _, err := capture.Parse(Policy{}, []string{"--proxy-uid=root"}); err == nil {
		t.Error("a user's name is read")
	}
}
