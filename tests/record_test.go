package tests

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// recordTable has what was asked for.
const recordTable = "meshtables_options"

// TestIPTablesSeesNoRecord shows that iptables does not notice what is stored beside its
// rules: neither in what it prints, nor in what it says.
func TestIPTablesSeesNoRecord(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-nft", native} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p, "--excluded-ports="+oddNumbers(60), "--mode=TPROXY", "--redirect-dns")
			wantRecord(t, p, true)
			with := iptablesSays(t, p)
			program(t, p, "", "nft", "delete", "table", "inet", recordTable)
			if without := iptablesSays(t, p); with != without {
				t.Errorf("with what was asked for:\n%s\nwithout:\n%s", with, without)
			}
			apply(t, p)
			wantRecord(t, p, true)
			for _, f := range iptables.Families() {
				command := commandOf("iptables-nft", f)
				for _, args := range [][]string{{"-t", "nat", "-F"}, {"-t", "nat", "-X"}, {"-t", "mangle", "-F"}, {"-t", "raw", "-L"}} {
					if out := saysOf(t, p, "", command, args...); strings.Contains(out, recordTable) || strings.Contains(out, "Warning") {
						t.Errorf("%s %q: %s", command, args, out)
					}
				}
				if out := saysOf(t, p, "*nat\n:PREROUTING ACCEPT\nCOMMIT\n", command+"-restore"); out != "" {
					t.Errorf("%s-restore: %s", command, out)
				}
			}
			wantRecord(t, p, true)
			cleanup(t, p)
			wantRecord(t, p, false)
		})
	}
}

func wantRecord(t *testing.T, p pod, want bool) {
	t.Helper()
	if tables := program(t, p, "", "nft", "list", "tables"); strings.Contains(tables, recordTable) != want {
		t.Errorf("what was asked for is stored: %t, want %t:\n%s", !want, want, tables)
	}
}

// timesAndCounters are what iptables-save prints and changes by itself.
var timesAndCounters = regexp.MustCompile(`(?m)^# (Generated|Completed).*\n|\[\d+:\d+\]`)

// iptablesSays returns all that the programs of iptables-nft list.
func iptablesSays(t *testing.T, p pod) string {
	t.Helper()
	var all strings.Builder
	for _, f := range iptables.Families() {
		all.WriteString(saysOf(t, p, "", programOf("iptables-nft", f, "save")))
		for _, table := range []string{"nat", "mangle", "raw", "filter"} {
			all.WriteString(saysOf(t, p, "", commandOf("iptables-nft", f), "-t", table, "-L", "-n"))
			all.WriteString(saysOf(t, p, "", commandOf("iptables-nft", f), "-t", table, "-S"))
		}
	}
	return timesAndCounters.ReplaceAllString(all.String(), "")
}

// saysOf runs a program in the pod and returns all that it prints.
func saysOf(t *testing.T, p pod, stdin, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	err := p.Pod.Run(t.Context(), lab.Command{Path: name, Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &out)
	}
	return out.String()
}
