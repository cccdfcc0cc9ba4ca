package probe

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
)

// On a machine that is busy with interfaces, what is sent from outside leaves at the
// first go: what is sent before the kernel has started the queue is lost.
func TestOutsideOnBusyMachine(t *testing.T) {
	nstest.Enter(t)
	busy(t)
	for range 20 {
		links := linksOutside(outsideName(), iptables.IPv4)[:1]
		there, err := openOutside(t.Context(), nstest.Here(t), links)
		if err != nil {
			t.Fatal(err)
		}
		link, err := rtnetlink.LinkByName(t.Context(), there.ns, links[0].name)
		there.close()
		if err != nil || !link.IsOperational() {
			t.Fatalf("the interface is %+v, %v", link, err)
		}
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

// What is missing for a pair of interfaces is named.
func TestNoPair(t *testing.T) {
	for err, want := range map[error]string{
		unix.EPERM:      "CAP_NET_ADMIN",
		unix.EOPNOTSUPP: "the kernel module veth (CONFIG_VETH), which is missing",
		unix.ENOMEM:     "failed to make a pair of interfaces",
	} {
		if got := noPair(err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("got %v, want %q in it", got, want)
		}
	}
}
