package probe

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// On a machine that is busy with interfaces, connections arrive at the first go: within
// less than the second after which TCP and ARP would try again. One of them may be late
// for other reasons; without waiting for the interface several are.
func TestRunOnBusyMachine(t *testing.T) {
	want := enter(t)
	want.Timeout = 900 * time.Millisecond
	install(t, want.Rules)
	busy(t)
	late := 0
	for range 20 {
		if s := run(t, want)["inbound"]; s.Outcome != Passed {
			t.Log(s)
			late++
		}
	}
	if late > 1 {
		t.Errorf("%d connections of 20 did not arrive at the first go", late)
	}
}

// busy lets network namespaces with interfaces come and go until the test ends: what the
// kernel has to do about one then waits for what it has to do about others.
func busy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		others.Wait()
	})
	for range 8 {
		others.Go(func() {
			// The thread ends with the goroutine, and its namespace with it.
			runtime.LockOSThread()
			for ctx.Err() == nil {
				if err := comeAndGo(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
}

func comeAndGo() error {
	namespace, err := netns.New()
	if err != nil {
		return err
	}
	defer namespace.Close()
	for i := range 8 {
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: fmt.Sprint("busy", i)})
		pair.PeerName = fmt.Sprint("idle", i)
		if err := errors.Join(netlink.LinkAdd(pair), netlink.LinkSetUp(pair)); err != nil {
			return err
		}
	}
	return nil
}

// That nobody can come in from outside says nothing about the rules.
func TestWithoutOutside(t *testing.T) {
	for _, err := range []error{unix.ENOMEM, errors.New("did not come up")} {
		if outcome, detail := judgeUntried(outsideError{err}); outcome != Unknown || detail != err.Error() {
			t.Errorf("got %s, %q", outcome, detail)
		}
	}
}
