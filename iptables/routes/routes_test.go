package routes_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Every test works in a network namespace of its own (nstest), which takes root,
// and looks at the outcome with the programs of iproute2.

var (
	passthrough = []netip.Prefix{netip.MustParsePrefix("::6/128")}
	tproxy      = iptables.Routing{Mark: 1337, Table: 133, Families: iptables.Families(), TableOption: "--tproxy-table", Addresses: passthrough}
	moved       = iptables.Routing{Mark: 7, Table: 1234, Families: iptables.Families(), Addresses: passthrough}
)

// installed is what iproute2 lists of routing, without what every namespace has
// and without the numbers that the kernel gives.
func installed(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, f := range []string{"-4", "-6"} {
		lines = append(lines, list(t, f, "rule"), list(t, f, "route", "show", "table", "all"))
	}
	lines = append(lines, list(t, "-6", "-brief", "addr", "show", "dev", "lo"))
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
}

var (
	kernelsOwn = regexp.MustCompile(`lookup (local|main|default)$|proto kernel`)
	given      = regexp.MustCompile(`^\d+:|\b(metric \d+|pref medium)\b|^lo +UNKNOWN`)
)

func list(t *testing.T, args ...string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(nstest.Run(t, "ip", args...)) {
		if line = strings.TrimSpace(line); !kernelsOwn.MatchString(line) {
			lines = append(lines, args[0]+" "+strings.Join(strings.Fields(given.ReplaceAllString(line, "")), " "))
		}
	}
	return strings.Join(lines, "\n")
}

const (
	fresh          = "-6 ::1/128"
	tproxyRouting  = "-4 from all fwmark 0x539 lookup 133 proto 109\n-4 local default dev lo table 133 proto 109 scope host\n" + "-6 from all fwmark 0x539 lookup 133 proto 109\n-6 local default dev lo table 133 proto 109\n" + "-6 ::6/128 ::1/128"
	movedRouting   = "-4 from all fwmark 0x7 lookup 1234 proto 109\n-4 local default dev lo table 1234 proto 109 scope host\n" + "-6 from all fwmark 0x7 lookup 1234 proto 109\n-6 local default dev lo table 1234 proto 109\n" + "-6 ::6/128 ::1/128"
	referenceV4    = "-4 from all fwmark 0x539 lookup 133\n-4 local default dev lo table 133 scope host\n"
	foreignObjects = "-4 from all fwmark 0x1/0xff lookup 133\n-4 from 192.0.2.0/24 lookup 77\n-4 from all fwmark 0x9 lookup 78\n" +
		"-4 local default dev lo table 78 scope host\n-4 blackhole 198.51.100.0/24 table 133\n"
)

func expect(t *testing.T, when, want string) {
	t.Helper()
	if got := installed(t); got != want {
		t.Errorf("%s: got\n%s\n\nwant\n%s", when, got, want)
	}
}

func apply(t *testing.T, want iptables.Routing, wantChanged bool) {
	t.Helper()
	changed, err := change(t, t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if changed != wantChanged {
		t.Errorf("changed: got %t, want %t", changed, wantChanged)
	}
}

// Apply is idempotent, a new mark and table replace the old ones, and Remove
// leaves nothing.
func TestApplyMoveRemove(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	expect(t, "before", fresh)
	apply(t, tproxy, true)
	expect(t, "applied", tproxyRouting)
	for range 3 {
		apply(t, tproxy, false)
	}
	expect(t, "applied again", tproxyRouting)
	apply(t, moved, true)
	expect(t, "moved", movedRouting)
	apply(t, iptables.Routing{Addresses: passthrough}, true)
	expect(t, "without TPROXY", "-6 ::6/128 ::1/128")

	removed, err := removeAll(t)
	if err != nil || !removed {
		t.Errorf("Remove: got %t, %v", removed, err)
	}
	expect(t, "removed", fresh)
	if removed, err = removeAll(t); err != nil || removed {
		t.Errorf("Remove, again: got %t, %v", removed, err)
	}
}

// What the reference left, doubled by its reruns, is taken over: one of each
// stays, and Remove finds it.
func TestReferenceLeftoversAreTakenOver(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	run(t, "ip rule add fwmark 0x539 lookup 133", "ip rule add fwmark 0x539 lookup 133",
		"ip route add local default dev lo table 133", "ip -6 addr add ::6/128 dev lo")
	expect(t, "before", "-4 from all fwmark 0x539 lookup 133\n"+referenceV4+"-6 ::6/128 ::1/128")
	apply(t, iptables.Routing{Mark: 1337, Table: 133, Families: []iptables.Family{iptables.IPv4}, Addresses: passthrough}, true)
	expect(t, "applied", referenceV4+"-6 ::6/128 ::1/128")
	if removed, err := removeAll(t); err != nil || !removed {
		t.Errorf("Remove: got %t, %v", removed, err)
	}
	expect(t, "removed", fresh)
}

// Rules and routes of others stay, even in the same table, and those that do
// what is wanted are used and not doubled.
func TestForeignObjectsStay(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	run(t, "ip rule add fwmark 9 lookup 78", "ip rule add from 192.0.2.0/24 lookup 77", "ip rule add fwmark 1/0xff lookup 133",
		"ip route add local default dev lo table 78", "ip route add blackhole 198.51.100.0/24 table 133")
	expect(t, "before", foreignObjects+fresh)

	apply(t, iptables.Routing{Mark: 9, Table: 78, Families: []iptables.Family{iptables.IPv4}}, false)
	apply(t, tproxy, true)
	if got := installed(t); !strings.Contains(got, "-4 local default dev lo table 133 proto 109 scope host") {
		t.Errorf("applied: got\n%s", got)
	}
	if _, err := removeAll(t); err != nil {
		t.Fatal(err)
	}
	expect(t, "removed", foreignObjects+fresh)

	// The table that the reference uses by default, used by somebody else.
	run(t, "ip route add local default dev lo table 133")
	if removed, err := removeAll(t); err != nil || removed {
		t.Errorf("Remove of a foreign route: got %t, %v", removed, err)
	}
}

// A table that already routes elsewhere is refused before anything is changed.
func TestConflict(t *testing.T) {
	t.Parallel()
	for _, conflict := range []string{"ip route add blackhole default table 133", "ip -6 route add unreachable default table 133"} {
		t.Run(conflict, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			run(t, conflict)
			before := installed(t)
			_, err := change(t, t.Context(), tproxy)
			if !errors.Is(err, routes.ErrConflict) || !strings.Contains(err.Error(), "\nhint: choose an unused routing table with --tproxy-table") {
				t.Errorf("got %v", err)
			}
			expect(t, "after the failure", before)
		})
	}
}

// Where one change fails, those before it are undone.
func TestFailureIsUndone(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	apply(t, tproxy, true)
	changes, err := diff(t, t.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != 8 {
		t.Errorf("got %d changes, want 4 additions and 4 removals:\n%v", len(changes), changes)
	}
	// No interface can have a multicast address.
	changes = append(changes, routes.Change{Action: routes.Add, Object: routes.Object{
		Kind: routes.Address, Family: iptables.IPv6, Prefix: netip.MustParsePrefix("ff02::5/128"),
	}})
	if err := changes.Apply(t.Context(), nstest.Here(t)); err == nil || !strings.Contains(err.Error(), "ip -6 addr add ff02::5/128 dev lo") {
		t.Errorf("got %v", err)
	}
	expect(t, "after the failure", tproxyRouting)
}

// Additions and removals can be made apart, and additions be taken back.
func TestTwoSteps(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	apply(t, tproxy, true)
	changes, err := diff(t, t.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	if err := changes.Additions().Apply(t.Context(), nstest.Here(t)); err != nil {
		t.Fatal(err)
	}
	if got := installed(t); strings.Count(got, "lookup 133 ") != 2 || strings.Count(got, "lookup 1234 ") != 2 {
		t.Errorf("old and new are not both there:\n%s", got)
	}
	if err := changes.Additions().Undo(t.Context(), nstest.Here(t)); err != nil {
		t.Fatal(err)
	}
	expect(t, "taken back", tproxyRouting)
	if err := changes.Apply(t.Context(), nstest.Here(t)); err != nil {
		t.Fatal(err)
	}
	expect(t, "moved", movedRouting)
	if err := changes.Undo(t.Context(), nstest.Here(t)); err != nil {
		t.Fatal(err)
	}
	expect(t, "moved back", tproxyRouting)
}

// Changes read as the commands that make them.
func TestChangesAreCommands(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	apply(t, moved, true)
	changes, err := diff(t, t.Context(), tproxy)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		run(t, c.String())
	}
	expect(t, "after the commands", tproxyRouting)
	state, err := routes.Read(t.Context(), nstest.Here(t), sidecar.Ownership())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range state.Own() {
		got = append(got, o.Family.String()+" "+o.String())
	}
	want := []string{
		"IPv6 ::6/128 dev lo", "IPv4 local default dev lo table 133", "IPv6 local default dev lo table 133",
		"IPv4 fwmark 0x539 lookup 133", "IPv6 fwmark 0x539 lookup 133",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Own: got %q, want %q", got, want)
	}
}

func TestNoIPv6(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := change(t, t.Context(), tproxy); !errors.Is(err, host.ErrNoIPv6) {
		t.Errorf("got %v, want host.ErrNoIPv6", err)
	}
	apply(t, iptables.Routing{Mark: 1337, Table: 133, Families: []iptables.Family{iptables.IPv4}}, true)
	if removed, err := removeAll(t); err != nil || !removed {
		t.Errorf("Remove: got %t, %v", removed, err)
	}
}

// Whatever comes before our policy rule and leads elsewhere keeps marked packets from us.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		commands []string
		want     string
	}{
		"ours":           {nil, ""},
		"no rule":        {[]string{"ip rule del fwmark 1337 lookup 133"}, `no IPv4 routing rule delivers packets with the mark 0x539 to this machine`},
		"no route":       {[]string{"ip route flush table 133"}, `no IPv4 routing rule delivers packets with the mark 0x539 to this machine`},
		"another first":  {[]string{"ip rule add pref 2 fwmark 1337 lookup 200", "ip route add blackhole default table 200"}, `the IPv4 routing rule "priority 2 fwmark 0x539 lookup 200" takes packets with the mark 0x539 elsewhere`},
		"by a mask":      {[]string{"ip rule add pref 2 fwmark 0x1/0x1 lookup 200", "ip route add unreachable default table 200"}, `the IPv4 routing rule "priority 2 fwmark 0x1/0x1 lookup 200" takes packets with the mark 0x539 elsewhere`},
		"an end":         {[]string{"ip rule add pref 2 fwmark 1337 blackhole"}, `the IPv4 routing rule "priority 2 fwmark 0x539" takes packets with the mark 0x539 elsewhere`},
		"another mark":   {[]string{"ip rule add pref 2 fwmark 7 lookup 200", "ip route add blackhole default table 200"}, ""},
		"an empty table": {[]string{"ip rule add pref 2 fwmark 1337 lookup 200"}, ""},
		"here too":       {[]string{"ip rule add pref 2 fwmark 1337 lookup 200", "ip route add local default dev lo table 200"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			apply(t, tproxy, true)
			run(t, test.commands...)
			there, err := routes.Read(t.Context(), nstest.Here(t), sidecar.Ownership())
			if err != nil {
				t.Fatal(err)
			}
			if got := there.Undelivered(iptables.IPv4, 1337); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := there.Undelivered(iptables.IPv6, 1337); got != "" {
				t.Errorf("of IPv6: got %q", got)
			}
		})
	}
}

// Numbers that would catch unmarked packets or break the kernel's tables, and
// what cleanup could not find, are refused.
func TestInvalidRouting(t *testing.T) {
	t.Parallel()
	v4 := []iptables.Family{iptables.IPv4}
	for name, want := range map[string]iptables.Routing{
		"no mark":           {Table: 133, Families: v4},
		"no table":          {Mark: 1, Families: v4},
		"main":              {Mark: 1, Table: 254, Families: v4},
		"mark beyond mask":  {Mark: 0x1111, Mask: 0xfff, Table: 133, Families: v4},
		"another address":   {Addresses: []netip.Prefix{netip.MustParsePrefix("::7/128")}},
		"an IPv4 loopback":  {Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.6/32")}},
		"another prefix":    {Addresses: []netip.Prefix{netip.MustParsePrefix("::6/64")}},
		"local, IPv6 alone": {Mark: 1, Table: 255, Families: []iptables.Family{iptables.IPv6}},
	} {
		if changes, err := diff(t, t.Context(), want); err == nil {
			t.Errorf("%s: got %v, want an error", name, changes)
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes, err := diff(t, ctx, tproxy)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := changes.Apply(ctx, nstest.Here(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: got %v", err)
	}
	if _, err := change(t, ctx, tproxy); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply from the start: got %v", err)
	}
	expect(t, "after", fresh)
}

func run(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		words := strings.Fields(c)
		nstest.Run(t, words[0], words[1:]...)
	}
}

// diff returns the changes that make the network namespace hold what is wanted.
func diff(t *testing.T, ctx context.Context, want iptables.Routing) (routes.Changes, error) {
	t.Helper()
	there, err := routes.Read(ctx, nstest.Here(t), sidecar.Ownership())
	if err != nil {
		return nil, err
	}
	return there.Diff(want)
}

// change makes the network namespace hold what is wanted and nothing else of ours,
// and reports whether it had to change anything.
func change(t *testing.T, ctx context.Context, want iptables.Routing) (changed bool, err error) {
	t.Helper()
	changes, err := diff(t, ctx, want)
	if err != nil || len(changes) == 0 {
		return false, err
	}
	if err := changes.Apply(ctx, nstest.Here(t)); err != nil {
		return false, err
	}
	return true, nil
}

// removeAll removes everything that is ours and reports whether there was any.
func removeAll(t *testing.T) (removed bool, err error) {
	t.Helper()
	return change(t, t.Context(), iptables.Routing{})
}
