package kernel

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// routing is what TPROXY needs.
func routing() iptables.Routing {
	return iptables.Routing{
		Mark: 1337, Table: 133, Families: iptables.Families(),
		Addresses: []netip.Prefix{netip.MustParsePrefix("::6/128")},
	}
}

// natRules returns one chain for each family, with one rule of the target.
func natRules(target iptables.Target) iptables.Plan {
	p := iptables.Plan{Families: iptables.Families()}
	nat := p.Table(iptables.Nat)
	nat.Append(iptables.Output, iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_OUTPUT"}}})
	nat.Append("ISTIO_OUTPUT", iptables.PlannedRule{Rule: iptables.Rule{Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Target: target}})
	return p
}

// savingMarks returns rules some of which are others while the rules move.
func savingMarks() iptables.Plan {
	p := natRules(iptables.Return)
	p.Doubled = sidecar.Default().Plan(host.Host{}).Rules.Doubled
	mangle := p.Table(iptables.Mangle)
	mangle.Append(iptables.Prerouting, iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_PREROUTING"}}})
	mangle.Append("ISTIO_PREROUTING", iptables.PlannedRule{Rule: iptables.Rule{
		Target: iptables.SaveMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
	}})
	return p
}

// observed is everything that an installation changes.
func observed(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, args := range [][]string{
		{"iptables-nft-save"}, {"ip6tables-nft-save"},
		{"ip", "rule"}, {"ip", "-6", "rule"}, {"ip", "-6", "addr", "show", "dev", "lo"},
		{"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
	} {
		for line := range strings.Lines(nstest.Run(t, args[0], args[1:]...)) {
			// The kernel makes routes of its own, some time after an address.
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, " proto kernel ") {
				text.WriteString(line)
			}
		}
	}
	return text.String()
}

func TestInstallAndRemove(t *testing.T) {
	nstest.Enter(t)
	choice := choose(t, string(xtables.NFT))
	install := func(want bool, rs iptables.Plan, routing iptables.Routing) {
		t.Helper()
		report, err := Install(t.Context(), nstest.Here(t), wanting(choice, rs), routing)
		if err != nil || report.Changed != want || report.Before.Unread != nil {
			t.Errorf("got %v, %v, %v, want a change: %v", report.Changed, report.Before.Unread, err, want)
		}
	}
	install(true, natRules(iptables.Return), routing())
	installed := observed(t)
	for _, want := range []string{"-A ISTIO_OUTPUT -p tcp -j RETURN", "fwmark 0x539 lookup 133", "local default dev lo", "::6/128"} {
		if !strings.Contains(installed, want) {
			t.Errorf("%q is missing in:\n%s", want, installed)
		}
	}
	install(false, natRules(iptables.Return), routing())
	if now := observed(t); now != installed {
		t.Errorf("changed by installing the same:\n%s\n%s", installed, now)
	}

	install(true, natRules(iptables.Return), iptables.Routing{})
	if now := observed(t); strings.Contains(now, "fwmark") || strings.Contains(now, "::6/128") {
		t.Errorf("stale routing is left:\n%s", now)
	}
	install(true, iptables.Plan{}, iptables.Routing{})
	if now := observed(t); strings.Contains(now, "ISTIO_") {
		t.Errorf("rules are left:\n%s", now)
	}
	install(false, iptables.Plan{}, iptables.Routing{})
}

// Whatever step fails, those before it are taken back.
func TestFailureChangesNothing(t *testing.T) {
	nstest.Enter(t)
	choice := choose(t, string(xtables.NFT))
	if _, err := Install(t.Context(), nstest.Here(t), wanting(choice, natRules(iptables.Return)), iptables.Routing{}); err != nil {
		t.Fatal(err)
	}
	before := observed(t)
	unchanged := func(t *testing.T) {
		t.Helper()
		if now := observed(t); now != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, now)
		}
	}

	// Routes are added first; the kernel refuses the rules.
	_, err := Install(t.Context(), nstest.Here(t), wanting(choice, natRules(iptables.UnknownTarget{Name: "NOSUCHTARGET"})), routing())
	if err == nil {
		t.Error("no error for a target that does not exist")
	}
	unchanged(t)

	// Rules are written, and moving them out of the other backend fails. No real
	// program can be made to refuse a removal, hence the fake.
	errBusy := errors.New("busy")
	have, err := choice.Backend.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = take(t.Context(), []step{
		replace(newHolding(choice.Backend, have), choice.Backend.Form(natRules(iptables.Accept))),
		{do: func(context.Context) error { return errBusy }},
	})
	if !errors.Is(err, errBusy) {
		t.Errorf("got %v, want that it is busy", err)
	}
	unchanged(t)
}

// What cannot be taken back stays, and so does what was done before it.
func TestFailedUndoKeepsRules(t *testing.T) {
	t.Parallel()
	errBusy, errStuck := errors.New("busy"), errors.New("stuck")
	var undone []string
	done := func(name string, undo error) step {
		return step{
			do:   func(context.Context) error { return nil },
			undo: func(context.Context) error { undone = append(undone, name); return undo },
		}
	}
	err := take(t.Context(), []step{
		done("first", nil), done("second", errStuck), done("third", nil),
		{do: func(context.Context) error { return errBusy }},
	})
	if !errors.Is(err, errBusy) || !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "new rules are beside") {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(undone, " "); got != "third second" {
		t.Errorf("taken back: %s", got)
	}
}

// Rules move between the two forms of nf_tables, whatever else changes with them,
// and back where a later step fails.
func TestRulesMoveBetweenForms(t *testing.T) {
	nstest.Enter(t)
	plan := savingMarks()
	var before []string
	for _, name := range []string{NFT, Native, NFT, Native, Legacy, Native, Legacy, NFT} {
		report, err := Install(t.Context(), nstest.Here(t), wanting(choose(t, name), plan), iptables.Routing{})
		if err != nil || !report.Changed || !slices.Equal(report.RemovedFrom, before) {
			t.Fatalf("%s: got %v, %q, %v, want rules removed from %q", name, report.Changed, report.RemovedFrom, err, before)
		}
		report, err = Install(t.Context(), nstest.Here(t), wanting(choose(t, name), plan), iptables.Routing{})
		if err != nil || report.Changed || report.RemovedFrom != nil {
			t.Errorf("%s again: got %v, %q, %v", name, report.Changed, report.RemovedFrom, err)
		}
		before = []string{name}
		compatible := strings.Contains(nstest.Run(t, "iptables-nft-save"), "ISTIO_")
		native := strings.Contains(nstest.Run(t, "nft", "list", "tables"), "inet meshtables")
		legacy := strings.Contains(nstest.Run(t, "iptables-legacy-save"), "ISTIO_")
		if compatible != (name == NFT) || native != (name == Native) || legacy != (name == Legacy) {
			t.Errorf("%s: iptables-nft lists them: %v, iptables-legacy does: %v, the native table is there: %v",
				name, compatible, legacy, native)
		}
	}

	if _, err := Install(t.Context(), nstest.Here(t), wanting(choose(t, NFT), plan), iptables.Routing{}); err != nil {
		t.Fatal(err)
	}
	held := observed(t)
	choice := choose(t, Native)
	others, err := othersOf(t, choice)
	if err != nil {
		t.Fatal(err)
	}
	want := choice.Backend.Form(natRules(iptables.Accept))
	from, native, ok := movable(choice.Backend, others, want)
	if !ok {
		t.Fatal("the rules cannot be moved at once")
	}
	errBusy := errors.New("busy")
	err = take(t.Context(), []step{
		move(from, native, newHolding(native, installed.Backend{}), want),
		{do: func(context.Context) error { return errBusy }},
	})
	if !errors.Is(err, errBusy) {
		t.Errorf("got %v, want that it is busy", err)
	}
	if now := observed(t); now != held {
		t.Errorf("before:\n%s\nafter:\n%s", held, now)
	}
	if _, err := Remove(t.Context(), nstest.Here(t), choice); err != nil {
		t.Fatal(err)
	}
	if left := nstest.Run(t, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}

func TestRulesMoveOutOfOtherBackends(t *testing.T) {
	nstest.Enter(t)
	if _, err := Install(t.Context(), nstest.Here(t), wanting(choose(t, string(xtables.Legacy)), natRules(iptables.Return)), iptables.Routing{}); err != nil {
		t.Fatal(err)
	}
	report, err := Install(t.Context(), nstest.Here(t), wanting(choose(t, string(xtables.NFT)), natRules(iptables.Return)), iptables.Routing{})
	if err != nil || !report.Changed {
		t.Fatalf("got %+v, %v", report, err)
	}
	if left := nstest.Run(t, "iptables-legacy-save"); strings.Contains(left, "ISTIO_") {
		t.Errorf("left in the legacy tables:\n%s", left)
	}
	if now := nstest.Run(t, "ip6tables-nft-save"); !strings.Contains(now, "ISTIO_OUTPUT") {
		t.Errorf("not in nf_tables:\n%s", now)
	}
}
