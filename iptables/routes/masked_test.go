package routes_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/routes"
)

// masked compares some bits of the mark, at a place of its own.
var masked = iptables.Routing{Mark: 0x111, Mask: 0xfff, Table: 100, Priority: 32764, Families: iptables.Families()}

// ofMasked owns the same rule made by others.
var ofMasked = iptables.Ownership{Lookups: []iptables.Lookup{{Mark: 0x111, Mask: 0xfff, Table: 100}}}

// changeMasked makes the changes to what is wanted, and returns them.
func changeMasked(t *testing.T, want iptables.Routing) []string {
	t.Helper()
	state, err := routes.Read(t.Context(), nstest.Here(t), ofMasked)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := state.Diff(want)
	if err == nil {
		err = changes.Apply(t.Context(), nstest.Here(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, c := range changes {
		commands = append(commands, c.String())
	}
	return commands
}

func wantCommands(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A rule that compares some bits of the mark is added at its place, found again, moved if
// somebody has moved it, and removed.
func TestMasked(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	const v4, v6 = "ip rule del priority 32764 fwmark 0x111/0xfff lookup 100 protocol 109", "ip -6 rule del priority 32764 fwmark 0x111/0xfff lookup 100 protocol 109"
	changeMasked(t, masked)
	if got := nstest.Run(t, "ip", "rule"); !strings.Contains(got, "32764:\tfrom all fwmark 0x111/0xfff lookup 100 proto 109") {
		t.Errorf("got\n%s", got)
	}
	wantCommands(t, changeMasked(t, masked))

	run(t, v4, strings.NewReplacer("del", "add", "32764", "32000").Replace(v4))
	wantCommands(t, changeMasked(t, masked), strings.Replace(v4, "del", "add", 1), strings.Replace(v4, "32764", "32000", 1))
	wantCommands(t, changeMasked(t, iptables.Routing{}), v6, v4,
		"ip -6 route del local default dev lo table 100 protocol 109", "ip route del local default dev lo table 100 protocol 109")
}

// The same rule and route of another program are taken over. A rule for other bits is
// somebody else's.
func TestMaskedOfOthers(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	for _, ip := range []string{"ip", "ip -6"} {
		run(t, ip+" rule add priority 32764 fwmark 0x111/0xfff lookup 100", ip+" route add local default dev lo table 100")
	}
	wantCommands(t, changeMasked(t, masked))
	run(t, "ip rule add fwmark 0x111 lookup 100")
	wantCommands(t, changeMasked(t, masked))
	if changes := changeMasked(t, iptables.Routing{}); len(changes) != 3 {
		t.Errorf("got %q, want both rules and the route of IPv6", changes)
	}
	if got := nstest.Run(t, "ip", "rule"); !strings.Contains(got, "fwmark 0x111 lookup 100") {
		t.Errorf("got\n%s", got)
	}
}
