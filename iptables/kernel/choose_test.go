package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

// Backends are chosen by programs and kernels that are there; every test that
// makes rules has a network namespace of its own (nstest), which takes root.

func choose(t *testing.T, name string) Choice {
	t.Helper()
	choice, err := Choose(t.Context(), nstest.Here(t), owned, name, iptables.Plan{})
	if err != nil {
		nstest.Missing(t, "the test needs the iptables programs: %v", err)
	}
	return choice
}

// wanting returns the choice for another plan.
func wanting(choice Choice, plan iptables.Plan) Choice {
	choice.Rules, choice.Doubled = choice.Backend.Form(plan), plan.Doubled
	return choice
}

// onPath makes PATH a directory that holds nothing but links to the programs of
// one variant, by the names given.
func onPath(t *testing.T, program string, names ...string) {
	t.Helper()
	target, err := exec.LookPath(program)
	if err != nil {
		nstest.Missing(t, "the test needs the iptables programs: %v", err)
	}
	dir := t.TempDir()
	for _, name := range names {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Symlink(target, filepath.Join(dir, name+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir)
}

const (
	nftProgram    = "xtables-nft-multi"
	legacyProgram = "xtables-legacy-multi"
)

// othersOf returns the other backends with rules of ours, or why some could not be asked.
func othersOf(t *testing.T, c Choice) ([]holding, error) {
	t.Helper()
	found, err := ReadBy(t.Context(), nstest.Here(t), c.Backend)
	return found.others(FormOf(c.Backend)), errors.Join(found.Unread, err)
}

// fates are the candidates without the paths of programs.
func fates(c Choice) string {
	var s []string
	for _, candidate := range c.Candidates {
		line, _, _ := strings.Cut(candidate.String(), " (")
		s = append(s, line)
	}
	return strings.Join(s, "\n")
}

// Auto takes nf_tables, and choosing and looking around makes nothing.
func TestAutoMakesNothing(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	choice := choose(t, Auto)
	const want = "iptables-nft: taken: the kernel has nf_tables and the xtables extensions for it\n" +
		"nftables: not taken: not needed\niptables-legacy: not taken: not needed\niptables: not taken: not needed"
	if got := fates(choice); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if others, err := othersOf(t, choice); len(others) != 0 || err != nil {
		t.Errorf("Others: got %v, %v", others, err)
	}
	for _, family := range iptables.Families() {
		if names, err := xtables.LegacyTables(nstest.Here(t), family); len(names) != 0 || err != nil {
			t.Errorf("%s legacy tables: got %q, %v", family, names, err)
		}
	}
	if out := nstest.Run(t, "nft", "list", "ruleset"); out != "" {
		t.Errorf("got nf_tables rules:\n%s", out)
	}
}

// In a network namespace that belongs to another user namespace the match owner is
// refused, and auto takes the form that needs none; rules without it can be of either.
func TestAutoInOtherUserNamespace(t *testing.T) {
	t.Parallel()
	nstest.EnterShifted(t)
	owner := iptables.Rule{Target: iptables.Return, Matches: []iptables.Match{iptables.Owner{UID: iptables.ID(1337)}}}
	for name, c := range map[string]struct {
		rule iptables.Rule
		want string
	}{
		"with a user":    {owner, Native},
		"without a user": {iptables.Rule{Target: iptables.Return}, NFT},
	} {
		plan := natRules(iptables.Return)
		for i := range plan.Tables {
			plan.Tables[i].Append("ISTIO_OUTPUT", iptables.PlannedRule{Rule: c.rule})
		}
		choice, err := Choose(t.Context(), nstest.Here(t), owned, Auto, plan)
		if err != nil {
			t.Fatal(err)
		}
		if got := choice.Backend.Name(); got != c.want {
			t.Errorf("%s: got %s, want %s\n%s", name, got, c.want, fates(choice))
		}
		if _, err := Install(t.Context(), nstest.Here(t), choice, iptables.Routing{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Remove(t.Context(), nstest.Here(t), choose(t, Auto)); err != nil {
		t.Error(err)
	}
	if left := nstest.Run(t, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}

// A name is taken at its word.
func TestByName(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	for _, name := range Names()[1:] {
		if got := choose(t, name).Backend.Name(); got != name {
			t.Errorf("got %s, want %s", got, name)
		}
	}
	_, err := Choose(t.Context(), nstest.Here(t), owned, "banana", iptables.Plan{})
	if err == nil || err.Error() != "--backend=banana: must be one of auto, iptables-nft, nftables, iptables-legacy, iptables" {
		t.Errorf("got %v", err)
	}
}

var errNoNFTables = fmt.Errorf("the kernel has no nf_tables: %w", syscall.EINVAL)

// withoutNFTables chooses as on a kernel that lacks it.
func withoutNFTables(t *testing.T) chooser {
	no := func() error { return errNoNFTables }
	return chooser{namespace: nstest.Here(t), exists: no, available: no, native: no}
}

// A kernel without nf_tables leaves the legacy programs, and an nft program by
// the name of iptables does not help.
func TestAutoWithoutNFTables(t *testing.T) {
	choice, err := withoutNFTables(t).choose(t.Context(), Auto)
	if err != nil {
		nstest.Missing(t, "the test needs the iptables programs: %v", err)
	}
	const want = "iptables-nft: not taken: the kernel has no nf_tables: invalid argument\n" +
		"nftables: not taken: the kernel has no nf_tables: invalid argument\n" +
		"iptables-legacy: taken: the first usable one\niptables: not taken: not needed"
	if got := fates(choice); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	onPath(t, nftProgram, "iptables", "ip6tables")
	choice, err = withoutNFTables(t).choose(t.Context(), Auto)
	if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "\nhint: ") {
		t.Errorf("got %v", err)
	}
	if choice.Backend != nil || len(choice.Candidates) != 4 {
		t.Errorf("got %v", choice)
	}
}

// In gVisor there are no modules to load, and the image may have no programs.
func TestInGVisor(t *testing.T) {
	onPath(t, nftProgram, "iptables", "ip6tables")
	c := withoutNFTables(t)
	c.sandboxed = true
	for _, name := range []string{Auto, NFT, Native} {
		choice, err := c.choose(t.Context(), name)
		if err == nil || choice.Backend != nil || !strings.HasSuffix(err.Error(), "invalid argument\nhint: "+hintGVisor) && !strings.HasSuffix(err.Error(), "does not have\nhint: "+hintGVisor) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Where nf_tables is there but not its extensions, the native form is taken, and if
// the kernel cannot take that either, legacy tables are no way out: both would be
// live.
func TestAutoWithoutExtensions(t *testing.T) {
	c := chooser{
		namespace: nstest.Here(t),
		exists:    func() error { return nil },
		available: func() error { return errors.New("the kernel has no match owner for nf_tables") },
		native:    func() error { return nil },
	}
	choice, err := c.choose(t.Context(), Auto)
	if err != nil || choice.Backend.Name() != Native {
		t.Fatalf("got %v, %v", choice.Backend, err)
	}
	const taken = "iptables-nft: not taken: the kernel has no match owner for nf_tables\n" +
		"nftables: taken: the kernel has nf_tables, and this form needs no xtables extensions\n" +
		"iptables-legacy: not taken: not needed\niptables: not taken: not needed"
	if got := fates(choice); got != taken {
		t.Errorf("got\n%s\nwant\n%s", got, taken)
	}
	c.native = func() error { return errors.New("the kernel has no redir") }
	choice, err = c.choose(t.Context(), Auto)
	if !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v", err)
	}
	const want = "iptables-nft: not taken: the kernel has no match owner for nf_tables\n" +
		"nftables: not taken: the kernel has no redir\n" +
		"iptables-legacy: not taken: the kernel has nf_tables\niptables: not taken: the kernel has nf_tables"
	if got := fates(choice); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Legacy programs alone are taken by their plain name too, and the lack of
// programs for IPv6 is told.
func TestAutoWithLegacyProgramsOnly(t *testing.T) {
	nstest.Enter(t)
	onPath(t, legacyProgram, "iptables")
	choice, err := withoutNFTables(t).choose(t.Context(), Auto)
	if err != nil {
		t.Fatal(err)
	}
	if got := choice.Backend.Name(); got != "iptables-legacy" {
		t.Errorf("got %s", got)
	}
	if got := choice.Candidates[2].String(); !strings.Contains(got, "not for IPv6: ip6tables: not found") || strings.Contains(got, "hint") {
		t.Errorf("got %q", got)
	}
}

const rules = "*nat\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n"

func write(t *testing.T, program string) {
	t.Helper()
	cmd := exec.Command(program, "--noflush", "-w", "10")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// Rules of ours in the other variant are found, and can be removed through what
// is returned.
func TestOthers(t *testing.T) {
	t.Parallel()
	for chosen, other := range map[string]string{"iptables-nft": "iptables-legacy", "iptables-legacy": "iptables-nft"} {
		t.Run(other, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			choice := choose(t, chosen)
			write(t, chosen+"-restore")
			if others, err := othersOf(t, choice); len(others) != 0 || err != nil {
				t.Errorf("without rules: got %v, %v", others, err)
			}
			write(t, other+"-restore")
			others, err := othersOf(t, choice)
			if err != nil || len(others) != 1 || others[0].Name() != other {
				t.Fatalf("got %v, %v", others, err)
			}
			if err := others[0].Replace(t.Context(), others[0].have, iptables.Ruleset{}); err != nil {
				t.Fatal(err)
			}
			if others, err := othersOf(t, choice); len(others) != 0 || err != nil {
				t.Errorf("after removal: got %v, %v", others, err)
			}
			have, err := choice.Backend.Load(t.Context())
			if own := owned.Of(have.Rules); err != nil || len(own.Tables) != 1 {
				t.Errorf("the chosen backend's own rules: got %v, %v", own, err)
			}
		})
	}
}

// The plain name stands for one of the variants; only the other is another.
func TestOthersOfPlainName(t *testing.T) {
	nstest.Enter(t)
	onPath(t, nftProgram, "iptables", "ip6tables")
	choice := choose(t, "iptables")
	write(t, "iptables-restore")
	if others, err := othersOf(t, choice); len(others) != 0 || err != nil {
		t.Errorf("got %v, %v", others, err)
	}
}

// Legacy tables that no program can read are reported, not passed over.
func TestOthersUnreadable(t *testing.T) {
	nstest.Enter(t)
	write(t, "iptables-legacy-restore")
	onPath(t, nftProgram, "iptables-nft", "ip6tables-nft")
	_, err := othersOf(t, choose(t, Auto))
	if !errors.Is(err, xtables.ErrNotFound) || !strings.Contains(err.Error(), "there are legacy tables (IPv4 nat)") {
		t.Errorf("got %v", err)
	}
}

// Without privileges the choice fails with a message of its own.
func TestChooseWithoutPrivilege(t *testing.T) {
	denied := func() error { return fmt.Errorf("failed to ask for nf_tables: %w", syscall.EPERM) }
	_, err := chooser{namespace: nstest.Here(t), exists: denied, available: denied, native: denied}.choose(t.Context(), Auto)
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// Programs by the plain name have the form of their variant.
func TestFormOf(t *testing.T) {
	for program, want := range map[string]string{nftProgram: NFT, legacyProgram: Legacy} {
		t.Run(program, func(t *testing.T) {
			onPath(t, program, "iptables", "ip6tables")
			if got := FormOf(choose(t, Any).Backend); string(got) != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	for _, name := range []string{NFT, Native} {
		if got := FormOf(choose(t, name).Backend); string(got) != name {
			t.Errorf("got %s, want %s", got, name)
		}
	}
}
