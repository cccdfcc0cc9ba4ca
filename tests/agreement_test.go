package tests

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

const (
	agreementSeed = 1
	// explainedEvery is how many configurations of a worker have one of which
	// connections are explained.
	explainedEvery = 25
)

// TestWritersAgree applies made-up arguments by the programs in one namespace, over
// netlink in another, and in the native form in a third, each over what the
// arguments before them left, so that many states are left for many others.
// iptables-save must print the same in the first two, verify must find all as
// wanted, and connections must fare by the native rules as by those of the
// arguments.
func TestWritersAgree(t *testing.T) {
	t.Parallel()
	writersAgree(t, soak.Times(48, 1000), arguments.generate)
}

// TestAmbientWritersAgree is TestWritersAgree for made-up arguments of ambient mode.
func TestAmbientWritersAgree(t *testing.T) {
	t.Parallel()
	writersAgree(t, soak.Times(24, 1000), arguments.generateAmbient)
}

// TestLinkerdWritersAgree is TestWritersAgree for made-up arguments of Linkerd's sidecars.
func TestLinkerdWritersAgree(t *testing.T) {
	t.Parallel()
	writersAgree(t, soak.Times(16, 1000), arguments.generateLinkerd)
}

// writersAgree applies so many configurations.
func writersAgree(t *testing.T, configurations int, generate func(arguments) []string) {
	t.Helper()
	const workers = 4
	for worker := range workers {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			programs, netlink, sets := newPod(t, "iptables"), newPod(t, "iptables-nft"), newPod(t, native)
			for number := worker; number < configurations && !t.Failed(); number += workers {
				args := generate(newArguments(agreementSeed, uint64(number)))
				agree(t, programs, netlink, args)
				apply(t, sets, args...)
				meshtables(t, sets, append([]string{"verify", "--backend=" + native}, args...)...)
				if number/workers%explainedEvery == 0 {
					fareAlike(t, sets, args, newArguments(agreementSeed, uint64(number)).Rand)
				}
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

// fareAlike has explain tell the same of connections by the arguments and by the
// rules that are installed.
func fareAlike(t *testing.T, p pod, args []string, random *rand.Rand) {
	t.Helper()
	v4, v6, _ := strings.Cut(meshtables(t, p, append([]string{"--dry-run"}, args...)...), "# ip6tables-save (IPv6)\n")
	planned := parseSaved(t, v4, v6)
	for _, f := range lab.Families() {
		attempts := newSampler(&planned.rules, f, random).attempts()
		random.Shuffle(len(attempts), func(i, j int) { attempts[i], attempts[j] = attempts[j], attempts[i] })
		for _, a := range attempts[:min(4, len(attempts))] {
			wanted, installed := fate(t, p, a, args), fate(t, p, a, []string{"--live"})
			if diff := cmp.Diff(wanted, installed); diff != "" {
				t.Errorf("explain %s, by the arguments (-), by the native rules (+):\n%s", strings.Join(a.args(), " "), diff)
			}
		}
	}
}

// fate returns what becomes of a connection, but for the rules that it meets.
func fate(t *testing.T, p pod, a attempt, how []string) map[string]any {
	t.Helper()
	var told map[string]any
	out := meshtables(t, p, slices.Concat([]string{"explain"}, a.args(), how, []string{"-O", "json"})...)
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatal(err)
	}
	delete(told, "path")
	delete(told, "reasons")
	// Only installed rules have sockets around them.
	delete(told, "listening")
	return told
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
