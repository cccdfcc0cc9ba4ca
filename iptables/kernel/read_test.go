package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Everything that is there is read at once, ours or not, and by another thread than those
// of the namespace.
func TestRead(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	found, err := Read(t.Context(), nstest.Here(t), sidecar.Ownership())
	if err != nil || len(found.Backends)+len(found.Others) > 0 || found.Unread != nil || !found.HasNFTables {
		t.Fatalf("in an empty namespace: got %v, %v", found, err)
	}
	if found.Default() != installed.NFT {
		t.Errorf("rules would be in the form %s", found.Default())
	}
	if _, err := Install(t.Context(), nstest.Here(t), wanting(choose(t, Native), natRules(iptables.Return)), routing()); err != nil {
		t.Fatal(err)
	}
	nstest.Run(t, "iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-j", "ACCEPT")
	nstest.Run(t, "nft", "add table inet other { chain c { type filter hook output priority 0; policy drop; }; }")

	ns, err := namespace.Open(fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	there := make(chan Installed, 1)
	go func() {
		found, err := Read(t.Context(), ns, sidecar.Ownership())
		if err != nil {
			t.Error(err)
		}
		there <- found
	}()
	found = <-there
	var forms, ours []installed.Form
	for _, b := range found.Backends {
		forms = append(forms, b.Form)
	}
	for _, b := range found.Own() {
		ours = append(ours, b.Form)
	}
	if d := cmp.Diff([][]installed.Form{{installed.Native, installed.Legacy}, {installed.Native}}, [][]installed.Form{forms, ours}); d != "" {
		t.Errorf("forms, and those with something of ours (-want +got):\n%s", d)
	}
	want := InForm(installed.Native, natRules(iptables.Return))
	if b := found.Backend(installed.Native); !b.Has(&want) {
		t.Errorf("got\n%s", b.Rules.Save(iptables.IPv4))
	}
	if !slices.ContainsFunc(found.Others, func(t iptables.Table) bool { return t.Name == "inet other" }) {
		t.Errorf("got the tables %v", found.Others)
	}
	state, err := found.Routing()
	if err != nil || len(state.Own()) != 5 {
		t.Errorf("got the routing %v, %v", state, err)
	}
}

// Legacy tables are read with only rules of others, and those of a family without programs
// are named.
func TestReadLegacy(t *testing.T) {
	nstest.Enter(t)
	for _, f := range iptables.Families() {
		for _, table := range []string{"raw", "mangle", "nat", "filter", "security"} {
			nstest.Run(t, f.Command()+"-legacy", "-t", table, "-A", "OUTPUT", "-m", "addrtype", "--dst-type", "LOCAL", "-m", "limit", "--limit", "5/min", "-j", "ACCEPT")
		}
	}
	found, err := Read(t.Context(), nstest.Here(t), sidecar.Ownership())
	if err != nil || found.Unread != nil || len(found.Backends) != 1 || found.Backends[0].Form != installed.Legacy {
		t.Fatalf("got %v, %v, %v", found.Backends, found.Unread, err)
	}
	rules := found.Backends[0].Rules
	for _, f := range iptables.Families() {
		for _, name := range []string{"raw", "mangle", "nat", "filter", "security"} {
			table := rules.Table(f, name)
			if table == nil || len(table.Chain("OUTPUT").Rules) != 1 {
				t.Errorf("%s %s: got %v", f, name, table)
				continue
			}
			if got := table.Chain("OUTPUT").Rules[0].String(); got != "-m addrtype --dst-type LOCAL -m limit --limit 5/min -j ACCEPT" {
				t.Errorf("%s %s: got %s", f, name, got)
			}
		}
	}

	only := t.TempDir()
	for _, program := range []string{"iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(only, program)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", only)
	found, err = Read(t.Context(), nstest.Here(t), sidecar.Ownership())
	if err != nil || found.Unread == nil || !strings.Contains(found.Unread.Error(), "there are legacy tables (IPv6 security, IPv6 filter") {
		t.Errorf("without programs for IPv6: got %v, %v", found.Unread, err)
	}
}
