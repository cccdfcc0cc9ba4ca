package kernel

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

var (
	firstRecord  = installed.NewRecord([]string{"--proxy-uid=1337"}, iptables.Ruleset{})
	secondRecord = installed.NewRecord([]string{"--proxy-uid=1337", "--excluded-ports=80"}, iptables.Ruleset{})
)

// recorded is the policy of the records.
const recorded = "sidecar"

// recordsOf returns a record as that of the policy, or none.
func recordsOf(r installed.Record) installed.Records {
	if r == nil {
		return nil
	}
	return installed.Records{recorded: r}
}

// recordIn returns the record in the test's namespace.
func recordIn(t *testing.T) installed.Record {
	t.Helper()
	found, err := Read(t.Context(), nstest.Here(t), owned)
	if err != nil {
		t.Fatal(err)
	}
	return found.Records[recorded]
}

// installWith installs rules with a record, by a backend.
func installWith(t *testing.T, backend string, rules iptables.Plan, r installed.Record) Report {
	t.Helper()
	choice := wanting(choose(t, backend), rules)
	choice.Records = recordsOf(r)
	report, err := Install(t.Context(), nstest.Here(t), choice, iptables.Routing{})
	if err != nil {
		t.Fatalf("%s: %v", backend, err)
	}
	return report
}

// The record goes with the rules wherever they go, and is not where it cannot be kept.
func TestRecordFollowsRules(t *testing.T) {
	nstest.Enter(t)
	plan := savingMarks()
	for i, backend := range []string{NFT, Native, NFT, Legacy, Native, Any, Native, Legacy, NFT} {
		want := []installed.Record{firstRecord, secondRecord}[i%2]
		report := installWith(t, backend, plan, want)
		if backend == Legacy || backend == Any {
			want = nil
		}
		if got := recordIn(t); !report.Changed || !slices.Equal(got, want) {
			t.Errorf("%d, %s: changed: %t, got %q, want %q", i, backend, report.Changed, got, want)
		}
		if installWith(t, backend, plan, want).Changed {
			t.Errorf("%d, %s: changed by installing the same", i, backend)
		}
	}
	if report, err := Remove(t.Context(), nstest.Here(t), choose(t, Native)); err != nil || !report.Changed {
		t.Errorf("got %v, %v", report.Changed, err)
	}
	if got := recordIn(t); got != nil {
		t.Errorf("left over: %q", got)
	}
}

// A record that differs is written again, even if the rules stay, which is no change. One that
// is missing is not: others may have written these rules.
func TestRecordOfRulesThatStay(t *testing.T) {
	nstest.Enter(t)
	for _, backend := range []string{NFT, Native} {
		plan := natRules(iptables.Return)
		installWith(t, backend, plan, nil)
		if installWith(t, backend, plan, firstRecord).Changed || recordIn(t) != nil {
			t.Errorf("%s: a missing record is written: %q", backend, recordIn(t))
		}
		installWith(t, backend, natRules(iptables.Accept), firstRecord)
		if installWith(t, backend, natRules(iptables.Accept), secondRecord).Changed || !slices.Equal(recordIn(t), secondRecord) {
			t.Errorf("%s: the record stays %q", backend, recordIn(t))
		}
		nstest.Run(t, "nft", "flush", "chain", "inet", "meshtables_options", "sidecar")
		if got := recordIn(t); !slices.Equal(got, installed.Record{""}) {
			t.Errorf("%s: an empty record is read as %q", backend, got)
		}
		if installWith(t, backend, natRules(iptables.Accept), secondRecord).Changed || !slices.Equal(recordIn(t), secondRecord) {
			t.Errorf("%s: the emptied record stays %q", backend, recordIn(t))
		}
	}
}

// Programs that find rules as they want them remove the record: it may be of other options.
func TestRecordOfRulesTakenOver(t *testing.T) {
	nstest.Enter(t)
	plan := natRules(iptables.Return)
	installWith(t, NFT, plan, firstRecord)
	if installWith(t, Any, plan, firstRecord).Changed || recordIn(t) != nil {
		t.Errorf("got %q", recordIn(t))
	}
}

// Removing takes what is left of a record too, and nothing of others.
func TestRemoveRecord(t *testing.T) {
	nstest.Enter(t)
	ns := nstest.Here(t)
	remove := func(name, left string) {
		t.Helper()
		if report, err := Remove(t.Context(), ns, choose(t, Auto)); err != nil || !report.Changed {
			t.Errorf("%s: got %v, %v", name, report.Changed, err)
		}
		if got := nstest.Run(t, "nft", "list", "ruleset"); !strings.Contains(got, left) || left == "" && got != "" {
			t.Errorf("%s: left over, want %q:\n%s", name, left, got)
		}
	}
	installWith(t, NFT, natRules(iptables.Return), firstRecord)
	nstest.Run(t, "iptables-nft", "-t", "nat", "-F")
	nstest.Run(t, "iptables-nft", "-t", "nat", "-X")
	if got := recordIn(t); !slices.Equal(got, firstRecord) {
		t.Errorf("after iptables -F and -X: got %q", got)
	}
	nstest.Run(t, "nft", "delete", "table", "ip", "nat")
	nstest.Run(t, "nft", "delete", "table", "ip6", "nat")
	remove("the record alone", "")

	nstest.Run(t, "nft", "add", "table", "inet", "meshtables_options")
	remove("an empty table", "")

	installWith(t, Native, natRules(iptables.Return), firstRecord)
	nstest.Run(t, "nft", "add", "chain", "inet", "meshtables_options", "another")
	remove("another policy's", "chain another")
	if report, err := Remove(t.Context(), ns, choose(t, Auto)); err != nil || report.Changed {
		t.Errorf("again: got %v, %v", report.Changed, err)
	}
}

// If a later step fails, the record is what it was.
func TestRecordIsRestored(t *testing.T) {
	nstest.Enter(t)
	errBusy := errors.New("busy")
	busy := step{do: func(context.Context) error { return errBusy }}
	for _, from := range []string{NFT, Native} {
		for _, to := range []string{NFT, Native, Any} {
			installWith(t, from, savingMarks(), firstRecord)
			choice := wanting(choose(t, to), natRules(iptables.Accept))
			choice.Records = recordsOf(secondRecord)
			found, err := ReadBy(t.Context(), nstest.Here(t), choice.Backend)
			if err != nil {
				t.Fatal(err)
			}
			steps := slices.Concat(
				change(&choice, recording(&choice, &found), found.others(FormOf(choice.Backend))),
				record(&choice, &found), []step{busy})
			if err := take(t.Context(), steps); !errors.Is(err, errBusy) {
				t.Errorf("from %s to %s: got %v", from, to, err)
			}
			if got := recordIn(t); !slices.Equal(got, firstRecord) {
				t.Errorf("from %s to %s: got %q, want %q", from, to, got, firstRecord)
			}
		}
	}
}

// What nft lists it can load again.
func TestRecordReload(t *testing.T) {
	nstest.Enter(t)
	args := []string{"--proxy-uid=1337", "--excluded-interfaces=" + strings.Repeat("eth0+,", 100) + "a{b};#$x"}
	r := installed.NewRecord(args, iptables.Ruleset{})
	installWith(t, Native, natRules(iptables.Return), r)
	file := t.TempDir() + "/ruleset"
	nstest.Run(t, "sh", "-c", "nft list ruleset >"+file+" && nft flush ruleset && nft -f "+file)
	if got := recordIn(t); !slices.Equal(got, r) {
		t.Errorf("got %q, want %q", got, r)
	}
}
