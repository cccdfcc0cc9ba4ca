package explain_test

import (
	"fmt"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
)

// behind is what packets meet after the tables of each test.
const behind = "*mangle\n:OUTPUT ACCEPT\n:ISTIO_OUTPUT -\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -m mark --mark 0x1 -j MARK --set-xmark 0x3/0xffffffff\nCOMMIT\n" +
	"*nat\n:OUTPUT ACCEPT\n:ISTIO_OUTPUT -\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"

// A table that packets meet before decides for itself only, other than by dropping or
// redirecting them.
func TestWalkBefore(t *testing.T) {
	for name, test := range map[string]struct{ before, want, path, foreign string }{
		"nothing":   {"*nat\n:OUTPUT ACCEPT\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1", ""},
		"accepts":   {"*nat\n:OUTPUT DROP\n-A OUTPUT -j ACCEPT\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1", ""},
		"redirects": {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", "redirected port 9, mark 0x0", "mangle OUTPUT 1", "ip nat OUTPUT 1"},
		"drops":     {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n", "dropped port 0, mark 0x0", "ip mangle OUTPUT 1", "ip mangle OUTPUT 1"},
		"policy":    {"*mangle\n:OUTPUT DROP\nCOMMIT\n", "dropped port 0, mark 0x0", "ip mangle OUTPUT 0", "ip mangle OUTPUT 0"},
		"marks":     {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n", "redirected port 15001, mark 0x3", "ip mangle OUTPUT 1", "ip mangle OUTPUT 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := installed.Alone(*ruleset(t, behind), sidecar.Ownership())
			path.Before = *ruleset(t, test.before)
			result, err := explain.WalkPath(path, packet())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := packettest.Fate(result), test.want+", connection mark 0x0, zone 0"; got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
			if got := place(result.Path[0]); got != test.path {
				t.Errorf("the path begins at %s, want %s", got, test.path)
			}
			first := ""
			if s, ok := foreign.First(path, iptables.IPv4); ok {
				first = fmt.Sprintf("%s %s %d", s.Table, s.Chain, s.Position)
			}
			if first != test.foreign {
				t.Errorf("the first foreign rule is %q, want %q", first, test.foreign)
			}
		})
	}
}

func place(s explain.Step) string { return fmt.Sprintf("%s %s %d", s.Table, s.Chain, s.Position) }

// Rules that are disabled are not met, but what is before them is; and that is the one
// reason of the bypass.
func TestWalkDisabled(t *testing.T) {
	path := installed.Alone(*ruleset(t, behind), sidecar.Ownership())
	path.Faults = []installed.Fault{{Text: "something is odd"}, {Text: "the table is asleep", Disables: true}}
	result, err := explain.WalkPath(path, packet())
	if err != nil || result.Verdict != explain.Bypassed || len(result.Path) > 0 {
		t.Errorf("got %v, %v", result, err)
	}
	reasons := explain.Reasons(path, packet(), result, sidecar.Policy{})
	if len(reasons) != 1 || reasons[0].Why != "the table is asleep" {
		t.Errorf("got the reasons %v", reasons)
	}
	path.Before = *ruleset(t, "*nat\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n")
	if result, err := explain.WalkPath(path, packet()); err != nil || result.Verdict != explain.Dropped {
		t.Errorf("got %v, %v", result, err)
	}
}
