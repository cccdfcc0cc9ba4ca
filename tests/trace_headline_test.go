package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/lab"
)

// What the kernel does with the packet is the answer. Table filter comes after ours, and is
// not walked through: where it drops the packet, the answer has what the rules say too.
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
					{[]string{"-P", "INPUT"}, "in", lab.PodAddr, inboundPort, "policy DROP of " + table + " INPUT"},
					{[]string{"-P", "OUTPUT"}, "out", lab.Outside, outboundPort, "policy DROP of " + table + " OUTPUT"},
					// Redirected, it comes in again by lo.
					{[]string{"-P", "INPUT"}, "out", lab.Outside, outboundPort, "policy DROP of " + table + " INPUT"},
				} {
					program(t, p, "", command, append(test.policy, "DROP")...)
					wantDroppedLater(t, p, f, test)
					program(t, p, "", command, append(test.policy, "ACCEPT")...)
				}
				program(t, p, "", command, "-A", "INPUT", "-p", "tcp", "-j", "DROP")
				wantDroppedLater(t, p, f, droppedLater{nil, "in", lab.PodAddr, inboundPort, "rule 1 of " + table + " INPUT"})
				program(t, p, "", command, "-F", "INPUT")
			}
		})
	}
}

// droppedLater is a connection that the rules redirect, and by what it is dropped then.
type droppedLater struct {
	policy    []string
	direction string
	to        lab.Addr
	port      uint16
	by        string
}

func wantDroppedLater(t *testing.T, p pod, f lab.Family, test droppedLater) {
	t.Helper()
	args := []string{"explain", test.direction, test.to.Port(f, 80).String(), "--live", "--trace"}
	status, out := run(t, p, args...)
	want := fmt.Sprintf("dropped\n  the rules say: redirected to port %d; the kernel dropped the packet: %s\n", test.port, test.by)
	if status != 3 || !strings.Contains(out, want) {
		t.Errorf("%s: exit status %d, want %q in\n%s", args, status, want, out)
	}
	status, out = run(t, p, append(args, "-O", "json", "--log-level=error")...)
	var told struct {
		explained
		ByRules explained
		Trace   struct{ Verdict explain.Verdict }
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dropped := explained{explain.Dropped, 0}
	if status != 3 || told.explained != dropped || told.ByRules != (explained{explain.Redirected, test.port}) || told.Trace.Verdict != explain.Dropped {
		t.Errorf("%s: exit status %d, got %+v", args, status, told)
	}
}
