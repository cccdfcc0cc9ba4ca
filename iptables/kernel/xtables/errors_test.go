package xtables

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// A lock that another program does not give up ends in an error of its own, not
// in waiting for ever.
func TestLocked(t *testing.T) {
	nstest.Enter(t)
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	lock, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b, err := Find(t.Context(), nstest.Here(t), owned, Legacy, Options{LockWait: 10 * time.Millisecond})
	if err != nil {
		nstest.Missing(t, "the test needs the iptables programs: %v", err)
	}
	start := time.Now()
	err = b.Replace(t.Context(), found(t, b), parse(t, redirect, ""))
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "\nhint: try again") {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if waited := time.Since(start); waited > 5*time.Second {
		t.Errorf("waited %s for a lock that it was to wait 1s for", waited)
	}
}

func TestLockFileCannotBeOpened(t *testing.T) {
	nstest.Enter(t)
	t.Setenv("XTABLES_LOCKFILE", "/no/such/directory/lock")
	b := find(t, Legacy)
	err := b.Replace(t.Context(), found(t, b), parse(t, redirect, ""))
	if err == nil || !strings.Contains(err.Error(), "\nhint: make the directory of /no/such/directory/lock writable") {
		t.Errorf("got %v", err)
	}
}

// withoutCapabilities takes the privileges from the test's thread and from the
// programs it starts.
func withoutCapabilities(t *testing.T) {
	t.Helper()
	nstest.Enter(t)
	for _, c := range []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
}

// Root without the capabilities gets the error of a user without privileges, by
// every variant, and at every stage.
func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			withoutCapabilities(t)
			b := find(t, v)
			have, err := b.Load(t.Context())
			if v == NFT && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Load: got %v", err)
			}
			err = b.Replace(t.Context(), have, parse(t, redirect, ""))
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "\nhint: run as root") {
				t.Errorf("Replace: got %v", err)
			}
		})
	}
}

// What programs of other versions and on other kernels say.
func TestMeaningOfFailures(t *testing.T) {
	t.Parallel()
	if missingCapabilities() != "" {
		nstest.Missing(t, "without capabilities, what is missing is taken for what may not be seen")
	}
	for _, test := range []struct {
		stderr string
		kind   error
		want   string // parts of it, with … between them
	}{
		{"iptables-restore v1.8.9 (legacy): Couldn't load match `owner':No such file or directory\n\nError occurred at line: 2\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n",
			ErrMissing, "iptables-restore: there is no match owner (Couldn't load match `owner':No such file or directory)\n     1  *nat\n     2  two\n … hint: the installed iptables lacks the extension; install its complete package"},
		{"iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'\n\nError occurred at line: 1\n",
			ErrMissing, "the kernel has no table nat (unable to initialize table 'nat') … hint: load its module (such as iptable_nat or ip6table_nat), or use"},
		{"iptables v1.4.21: can't initialize iptables table `nat': Table does not exist (do you need to insmod?)\nPerhaps iptables or your kernel needs to be upgraded.\n",
			ErrMissing, "or use --backend=iptables-nft or --backend=nftables"},
		{"iptables v1.8.7 (nf_tables): Could not fetch rule set generation id: Invalid argument\n",
			ErrMissing, "the kernel has no nf_tables … hint: load the module nf_tables, or use --backend=iptables-legacy"},
		{"iptables-nft-restore v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n",
			fs.ErrPermission, "not permitted"},
		{"Warning: Extension owner revision 0 not supported, missing kernel module?\niptables-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (No such file or directory): rule in chain ISTIO_OUTPUT\n",
			ErrMissing, "hint: load the modules nft_compat and xt_owner, or use --backend=nftables"},
		{"Warning: Extension tcp revision 0 not supported, missing kernel module?\n",
			ErrMissing, "the kernel has no extension tcp … hint: load the modules nft_compat and xt_tcpudp, or use --backend=nftables"},
		{"Fatal: can't open lock file /run/xtables.lock: Read-only file system\n",
			nil, "the lock file cannot be opened … hint: make the directory of /run/xtables.lock writable, or name another file"},
		{"iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (No such file or directory): rule in chain ISTIO_OUTPUT\n",
			ErrMissing, "\n     1  *nat\n     2  two\n     3  -m owner --uid-owner 1337\n     4  COMMIT\nhint: load the kernel modules"},
		{"iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (Operation not supported): rule in chain ISTIO_OUTPUT\n",
			ErrMissing, "the kernel lacks a part of nf_tables that this needs … hint: load the modules nft_compat and nft_chain_nat, or use … --backend=iptables-legacy"},
		{"iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (Invalid argument): rule in chain ISTIO_OUTPUT\n",
			nil, "hint: in a user namespace, owner matches only ids in"},
		{"iptables-restore: No chain/target/match by that name.\n",
			ErrMissing, "the kernel lacks an extension"},
		{"iptables-restore: line 4 failed\n",
			nil, "iptables-restore: line 4 failed\n"},
		{"Another app is currently holding the xtables lock; still 9s 0us time ahead to have a chance to grab the lock...\nAnother app is currently holding the xtables lock. Stopped waiting after 10s.\n",
			ErrLocked, "another program is changing rules … hint: try again when it is done"},
		{"something new\n", nil, "iptables-restore: something new"},
		{"", nil, "iptables-restore: exit status 9"},
		{strings.Repeat("long ", 1000), nil, " ..."},
	} {
		e := newError(command{path: "/sbin/iptables-restore"}, 9, test.stderr, errors.New("exit status 9"))
		e.locate([]edit{{lines: []string{"*nat", "two", "-m owner --uid-owner 1337", "COMMIT"}}})
		if test.kind != nil && !errors.Is(e, test.kind) || test.kind == nil && e.Kind != nil {
			t.Errorf("%q: got kind %v, want %v", test.stderr, e.Kind, test.kind)
		}
		for part := range strings.SplitSeq(test.want, " … ") {
			if !strings.Contains(e.Error(), part) {
				t.Errorf("%q: got\n%s\nwant in it\n%s", test.stderr, e, part)
			}
		}
		if len(e.Error()) > 2000 {
			t.Errorf("a message of %d bytes", len(e.Error()))
		}
	}
}

// Of a long input only what is around the refused line is shown, with the
// numbers that it has in the whole.
func TestInputOfFailure(t *testing.T) {
	t.Parallel()
	nat := edit{lines: []string{"*nat"}}
	for range 100 {
		nat.lines = append(nat.lines, "-A X "+strings.Repeat("y", 1000))
	}
	e := newError(command{path: "iptables-restore"}, 1, "line 54 failed", errors.New("exit status 1"))
	e.locate([]edit{{lines: []string{"*raw", "COMMIT"}}, nat})
	lines := strings.Split(e.Input, "\n")
	if len(lines) != 13 || lines[0] != "     3  *nat" || lines[1] != "   ..." || !strings.HasPrefix(lines[7], "    54  -A X y") {
		t.Errorf("got\n%s", e.Input)
	}
	if len(e.Input) > 3000 {
		t.Errorf("%d bytes of input are shown", len(e.Input))
	}
}
