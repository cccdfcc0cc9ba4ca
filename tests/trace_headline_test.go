package tests

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/lab"
)

// What the kernel does with the packet is the answer, and so it is where a rule asks for
// what the rules alone do not say. Both agree about table filter, which comes after ours.
func TestTraceIsTheAnswer(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p)
			for _, f := range lab.Families() {
				table := "filter"
				if backend == native {
					table = map[iptables.Family]string{iptables.IPv4: "ip filter", iptables.IPv6: "ip6 filter"}[iptables.FamilyOf(lab.PodAddr.In(f))]
				}
				command := commandOf(backend, iptables.FamilyOf(lab.PodAddr.In(f)))
				for _, test := range []droppedLater{
					{"INPUT", "in", lab.PodAddr, "policy DROP of " + table + " INPUT"},
					{"OUTPUT", "out", lab.Outside, "policy DROP of " + table + " OUTPUT"},
					// Redirected, it comes in again by lo.
					{"INPUT", "out", lab.Outside, "policy DROP of " + table + " INPUT"},
				} {
					program(t, p, "", command, "-P", test.chain, "DROP")
					wantDroppedLater(t, p, f, test)
					program(t, p, "", command, "-P", test.chain, "ACCEPT")
				}
				program(t, p, "", command, "-A", "INPUT", "-p", "tcp", "-j", "DROP")
				wantDroppedLater(t, p, f, droppedLater{"INPUT", "in", lab.PodAddr, "rule 1 of " + table + " INPUT"})
				program(t, p, "", command, "-F", "INPUT")
				program(t, p, "", command, "-A", "INPUT", "-p", "tcp", "-m", "length", "--length", "0:100", "-j", "DROP")
				wantToldByKernel(t, p, f, "rule 1 of "+table+" INPUT")
				program(t, p, "", command, "-F", "INPUT")
			}
		})
	}
}

// droppedLater is a connection that the rules redirect, and by what it is dropped then.
type droppedLater struct {
	chain, direction string
	to               lab.Addr
	by               string
}

// tracedAnswer is what explain --trace says.
type tracedAnswer struct {
	explained
	ByRules *explained
	Reasons []struct{ Why string }
	Trace   struct {
		Verdict explain.Verdict
		Agrees  bool
	}
}

// traceAnswer runs explain --trace, whose exit status has to be 0.
func traceAnswer(t *testing.T, p pod, direction string, to netip.AddrPort) (text string, told tracedAnswer) {
	t.Helper()
	args := []string{"explain", direction, to.String(), "--live", "--trace"}
	text = meshtables(t, p, args...)
	out := meshtables(t, p, append(args, "-O", "json")...)
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return text, told
}

func wantDroppedLater(t *testing.T, p pod, f lab.Family, test droppedLater) {
	t.Helper()
	text, told := traceAnswer(t, p, test.direction, test.to.Port(f, 80))
	if !strings.HasPrefix(text, "dropped\n") || !strings.Contains(text, "\nbecause it is dropped on its way to the proxy by foreign "+test.by) {
		t.Errorf("want it dropped by %s:\n%s", test.by, text)
	}
	if told.Verdict != explain.Dropped || told.ByRules != nil || told.Trace.Verdict != explain.Dropped || !told.Trace.Agrees {
		t.Errorf("got %+v\n%s", told, text)
	}
}

func wantToldByKernel(t *testing.T, p pod, f lab.Family, by string) {
	t.Helper()
	text, told := traceAnswer(t, p, "in", lab.PodAddr.Port(f, 80))
	if want := "dropped\n  the rules do not say; the kernel dropped the packet: " + by + "\n"; !strings.HasPrefix(text, want) {
		t.Errorf("want %q in\n%s", want, text)
	}
	if told.Verdict != explain.Dropped || told.ByRules == nil || told.ByRules.Verdict != explain.Unknown || told.Trace.Verdict != explain.Dropped {
		t.Errorf("got %+v\n%s", told, text)
	}
}
