package kernel

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

func TestInstallWaitsForOtherCopies(t *testing.T) {
	nstest.Enter(t)
	choice := choose(t, string(xtables.NFT))
	unlock, err := lock(t.Context(), nstest.Here(t), lockWait)
	if err != nil {
		t.Fatal(err)
	}
	before := observed(t)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Install(ctx, nstest.Here(t), wanting(choice, natRules(iptables.Return)), routing()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another copy it returns %v, want %v", err, context.DeadlineExceeded)
	}
	if now := observed(t); now != before {
		t.Errorf("beside another copy it changes:\n%s\nto\n%s", before, now)
	}
	if took := time.Since(start); took > lockWait/2 {
		t.Errorf("it takes %v", took)
	}
	unlock()
	if _, err := Install(t.Context(), nstest.Here(t), wanting(choice, natRules(iptables.Return)), routing()); err != nil {
		t.Errorf("after the other copy it returns %v", err)
	}
}

// Whoever holds the lock and does nothing cannot keep the rules from changing.
func TestLockDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	unlock, err := lock(t.Context(), nstest.Here(t), lockWait)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	const wait = 50 * time.Millisecond
	start := time.Now()
	goOn, err := lock(t.Context(), nstest.Here(t), wait)
	if took := time.Since(start); err != nil || took < wait || took > lockWait/2 {
		t.Fatalf("beside a lock that is not given back: %v, after %v", err, took)
	}
	goOn()
}

// None can hold the lock but who may change rules, and who may not does not wait for it:
// the kernel's refusal of the change is the better answer.
func TestLockTakesTheCapability(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	takes := func(who string) (unlock func()) {
		t.Helper()
		start := time.Now()
		unlock, err := lock(t.Context(), nstest.Here(t), lockWait)
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if took := time.Since(start); took > lockWait/2 {
			t.Errorf("%s waits for %v", who, took)
		}
		return unlock
	}
	restore := withoutCapabilities(t)
	defer takes("one without the capability")()
	restore()
	defer takes("one with the capability, beside one without")()
	withoutCapabilities(t)
	defer takes("one without the capability, beside one with it")()
}

// withoutCapabilities takes the capabilities from the calling thread, which must be locked.
func withoutCapabilities(t *testing.T) (restore func()) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, has [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		t.Fatal(err)
	}
	has = had
	has[0].Effective, has[1].Effective = 0, 0
	if err := unix.Capset(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Capset(&header, &had[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// The lock is that of the network namespace: a copy in a container, with files, processes
// and users of its own, and one on the node take turns. It goes with its holder.
func TestLockGoesWithItsHolder(t *testing.T) {
	t.Parallel()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdLock+"=1")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC,
		UidMappings: ids, GidMappings: ids,
	}
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		nstest.Missing(t, "a user namespace cannot be made: %v", err)
	}
	ended := sync.OnceFunc(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	defer ended()
	for lines := bufio.NewScanner(stdout); ; {
		if !lines.Scan() {
			t.Fatalf("the holder does not tell that it has the lock: %v", lines.Err())
		}
		if lines.Text() == holdLock {
			break
		}
	}

	ns, err := namespace.Open(strconv.Itoa(holder.Process.Pid))
	if err != nil {
		nstest.Missing(t, "entering a network namespace needs root: %v", err)
	}
	defer ns.Close()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, ns, lockWait); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > lockWait/2 {
		t.Errorf("beside its holder it returns %v after %v, want %v", err, time.Since(start), context.DeadlineExceeded)
	}
	ended()
	start = time.Now()
	unlock, err := lock(t.Context(), ns, lockWait)
	if err != nil || time.Since(start) > lockWait/2 {
		t.Fatalf("without its holder it returns %v, after %v", err, time.Since(start))
	}
	unlock()
}

// holdLock is the environment variable that has this program take the lock, print the
// variable's name, and hold the lock to the end of its input.
const holdLock = "MESHTABLES_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if os.Getenv(holdLock) == "" {
		os.Exit(m.Run())
	}
	ns := namespace.Own()
	defer ns.Close()
	unlock, err := lock(context.Background(), ns, lockWait)
	if err != nil {
		log.Fatal(err)
	}
	defer unlock()
	fmt.Println(holdLock)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A kernel without NFLOG refuses every message about it; there copies go on.
func TestLockWithoutNFLOG(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func() (netlink.Socket, error){
		"no subsystem": func() (netlink.Socket, error) { return refusing{}, nil },
		"no protocol":  func() (netlink.Socket, error) { return nil, unix.EPROTONOSUPPORT },
	} {
		ns := namespace.Own()
		defer ns.Close()
		ns.SetDial(dial)
		start := time.Now()
		unlock, err := lock(t.Context(), ns, lockWait)
		if err != nil || time.Since(start) > lockWait/2 {
			t.Errorf("%s: %v, after %v", name, err, time.Since(start))
			continue
		}
		unlock()
	}
}

// refusing is a kernel that has nothing. It answers the first request.
type refusing struct{}

func (refusing) Send([]byte) error { return nil }
func (refusing) Close() error      { return nil }
func (refusing) Receive(context.Context) ([]byte, error) {
	// struct nlmsghdr and struct nlmsgerr (linux/netlink.h).
	answer := make([]byte, unix.SizeofNlMsghdr, 64)
	binary.NativeEndian.PutUint16(answer[4:], unix.NLMSG_ERROR)
	binary.NativeEndian.PutUint32(answer[8:], 1)
	refused := unix.EINVAL
	answer = binary.NativeEndian.AppendUint32(answer, uint32(-int32(refused)))
	answer = append(answer, make([]byte, unix.SizeofNlMsghdr)...)
	binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
	return answer, nil
}
