package explain_test

import (
	"fmt"
	"testing"

	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
)

// ours are rules of ours in the native form.
const ours = "*mangle\n:OUTPUT ACCEPT\n:ISTIO_OUTPUT -\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -m mark --mark 0x1 -j MARK --set-xmark 0x3/0xffffffff\nCOMMIT\n" +
	"*nat\n:OUTPUT ACCEPT\n:ISTIO_OUTPUT -\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"

// among returns the path through rules of ours in the native form, with tables of iptables
// around them.
func among(t *testing.T, around string) (*installed.Path, *installed.Namespace) {
	t.Helper()
	n := &installed.Namespace{Ownership: sidecar.Ownership(), Backends: []installed.Backend{
		{Form: installed.NFT, Rules: *ruleset(t, around), Ownership: sidecar.Ownership()},
		{Form: installed.Native, Rules: *ruleset(t, ours), Ownership: sidecar.Ownership()},
	}}
	path := n.Path(installed.Native)
	return &path, n
}

// A table that packets meet before decides for itself only, other than by dropping or
// redirecting them. One that they meet after decides about what ours have redirected.
func TestWalkAround(t *testing.T) {
	for name, test := range map[string]struct{ around, want, path string }{
		"nothing":      {"*nat\n:OUTPUT ACCEPT\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1"},
		"accepts":      {"*nat\n:OUTPUT DROP\n-A OUTPUT -j ACCEPT\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1"},
		"redirects":    {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", "taken port 9, mark 0x0", "mangle OUTPUT 1"},
		"rewrites":     {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j DNAT --to-destination 10.1.2.3:80\nCOMMIT\n", "taken port 0, mark 0x0", "mangle OUTPUT 1"},
		"drops":        {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n", "dropped port 0, mark 0x0", "ip mangle OUTPUT 1"},
		"policy":       {"*mangle\n:OUTPUT DROP\nCOMMIT\n", "dropped port 0, mark 0x0", "ip mangle OUTPUT 0"},
		"marks":        {"*mangle\n:OUTPUT ACCEPT\n-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n", "redirected port 15001, mark 0x3", "ip mangle OUTPUT 1"},
		"untracks":     {"*raw\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -j CT --notrack\nCOMMIT\n", "bypassed port 0, mark 0x0", "ip raw OUTPUT 1"},
		"drops after":  {"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --dport 15001 -j DROP\nCOMMIT\n", "dropped port 0, mark 0x0", "mangle OUTPUT 1"},
		"as it was":    {"*filter\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1"},
		"at the proxy": {"*filter\n:INPUT DROP\n:OUTPUT ACCEPT\nCOMMIT\n", "dropped port 0, mark 0x0", "mangle OUTPUT 1"},
		"by chance":    {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m statistic --mode random --probability 0.5 -j REDIRECT --to-ports 9\nCOMMIT\n", "unknown port 0, mark 0x0", "mangle OUTPUT 1"},
		"may log":      {"*nat\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp -m string --string x -j LOG\nCOMMIT\n", "redirected port 15001, mark 0x0", "mangle OUTPUT 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := among(t, test.around)
			result := explain.WalkPath(path, packet())
			if got, want := packettest.Fate(result), test.want+", connection mark 0x0, zone 0"; got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
			if got := place(result.Path[0]); got != test.path {
				t.Errorf("the path begins at %s, want %s", got, test.path)
			}
		})
	}
}

func place(s explain.Step) string { return fmt.Sprintf("%s %s %d", s.Table, s.Chain, s.Position) }

// Rules that are disabled are not met, but what is around them is; and that is the one
// reason of the bypass.
func TestWalkDisabled(t *testing.T) {
	path, n := among(t, "")
	n.Backends[1].Faults = []installed.Fault{{Text: "something is odd"}, {Text: "the table is asleep", Disables: true}}
	*path = n.Path(installed.Native)
	result := explain.WalkPath(path, packet())
	if result.Verdict != explain.Bypassed || len(result.Path) > 0 {
		t.Errorf("got %v", result)
	}
	reasons := explain.Reasons(explain.Question{Path: path, Packet: packet(), Result: result, Policy: sidecar.Policy{}})
	if len(reasons) != 1 || reasons[0].Why != "the table is asleep" {
		t.Errorf("got the reasons %v", reasons)
	}
	n.Backends[0].Rules = *ruleset(t, "*nat\n:OUTPUT ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n")
	*path = n.Path(installed.Native)
	if result := explain.WalkPath(path, packet()); result.Verdict != explain.Dropped {
		t.Errorf("got %v", result)
	}
}
