package tests

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	agreementSeed    = 1
	agreementConfigs = 1000
)

// TestWritersAgree applies made-up arguments by the programs in one namespace and
// over netlink in another, each over what the arguments before them left, so that
// many states are left for many others. iptables-save must print the same in both,
// and verify must find both as wanted.
func TestWritersAgree(t *testing.T) {
	t.Parallel()
	const workers = 4
	for worker := range workers {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			programs, netlink := newPod(t, "iptables"), newPod(t, "iptables-nft")
			for number := worker; number < agreementConfigs && !t.Failed(); number += workers {
				args := newArguments(agreementSeed, uint64(number)).generate()
				agree(t, programs, netlink, args)
				if t.Failed() {
					t.Logf("configuration %d: %s", number, strings.Join(args, " "))
				}
			}
		})
	}
}

func agree(t *testing.T, programs, netlink pod, args []string) {
	t.Helper()
	apply(t, programs, args...)
	apply(t, netlink, args...)
	if diff := cmp.Diff(saveUsed(t, programs), saveUsed(t, netlink)); diff != "" {
		t.Errorf("by the programs (-), over netlink (+):\n%s", diff)
	}
	// Reading takes netlink in both, so that it reads what either wrote.
	verify := append([]string{"verify", "--backend=iptables-nft"}, args...)
	meshtables(t, programs, verify...)
	meshtables(t, netlink, verify...)
}

// unused is a table in which nobody has written anything. The programs make such
// tables and never remove them; over netlink they are removed.
var unused = regexp.MustCompile(`(?m)^\*\w+\n(:[A-Z]+ ACCEPT \[\d+:\d+\]\n)*COMMIT\n`)

var counters = regexp.MustCompile(`\[\d+:\d+\]`)

// saveUsed returns what iptables-save prints for both families, of the tables that
// hold something.
func saveUsed(t *testing.T, p pod) string {
	t.Helper()
	return counters.ReplaceAllString(unused.ReplaceAllString(save(t, p), ""), "")
}
