package nftables

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"golang.org/x/sys/unix"
)

// excludedPorts is a ruleset with one rule for each of n ports.
func excludedPorts(n int) iptables.Ruleset {
	t := iptables.Table{Family: iptables.IPv4, Name: iptables.Nat}
	tcp := iptables.ProtocolMatch{Protocol: iptables.TCP}
	for i := range n {
		port := iptables.PortMatch{Range: iptables.Port(uint16(i + 1)), Set: true}
		t.Append("ISTIO_INBOUND", iptables.Rule{
			Protocol: tcp,
			Matches:  []iptables.Match{iptables.Ports{Protocol: iptables.TCP, Destination: port}},
			Target:   iptables.Return,
		})
	}
	t.Append(iptables.Prerouting, iptables.Rule{Protocol: tcp, Target: iptables.Jump{Chain: "ISTIO_INBOUND"}})
	return iptables.Ruleset{Tables: []iptables.Table{t}}
}

// Tens of thousands of rules go in one transaction, are read back, replaced and
// removed.
func TestManyRules(t *testing.T) {
	nstest.Enter(t)
	want := excludedPorts(20000)
	replace(t, want)
	isInstalled(t, want)
	unchanged(t, func() { replace(t, want) })
	want.Tables[0].Chains[0].Rules = want.Tables[0].Chains[0].Rules[1:]
	replace(t, want)
	isInstalled(t, want)
	replace(t, iptables.Ruleset{})
	if rs := load(t); len(rs.Tables) > 0 {
		t.Errorf("left over:\n%s", text(rs))
	}
}

// Copies that start at the same moment in one namespace all succeed and leave
// one set of rules.
func TestConcurrentCopies(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	other := named(t, "sidecar-default")
	for _, copies := range []int{2, 10} {
		for range 10 {
			replace(t, other)
			concurrently(t, copies, func(int) error {
				have, err := New(nstest.Here(t), owned).Load(t.Context())
				if err != nil {
					return err
				}
				return New(nstest.Here(t), owned).Replace(t.Context(), have, want)
			})
			isInstalled(t, want)
		}
	}
	// Those that want different things succeed too; one of them is last.
	concurrently(t, 10, func(i int) error {
		wanted := []iptables.Ruleset{want, other, {}}[i%3]
		return New(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, wanted)
	})
	rs := load(t)
	own := owned.Of(rs)
	if !own.Equal(&want) && !own.Equal(&other) && len(own.Tables) > 0 {
		t.Errorf("a mixture is installed:\n%s", text(own))
	}
}

// concurrently runs copies in the namespace of the calling thread.
func concurrently(t *testing.T, copies int, do func(i int) error) {
	t.Helper()
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	errs := make([]error, copies)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range copies {
		done.Go(func() {
			// The thread ends with the goroutine.
			runtime.LockOSThread()
			err := unix.Setns(ns, unix.CLONE_NEWNET)
			<-start
			if err == nil {
				err = do(i)
			}
			errs[i] = err
		})
	}
	close(start)
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// BenchmarkWrite compares with iptables-nft-restore, a process of which each
// time reads the same rules as text, in the same namespace.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{3, 1000, 5000, 10000} {
		first, second := excludedPorts(n), excludedPorts(n+1)
		b.Run(fmt.Sprintf("netlink/%d", n), func(b *testing.B) {
			inNamespace(b, func(t testing.TB) {
				for i := range b.N {
					replace(t, []iptables.Ruleset{first, second}[i%2])
				}
			})
		})
		b.Run(fmt.Sprintf("unchanged/%d", n), func(b *testing.B) {
			inNamespace(b, func(t testing.TB) {
				replace(t, first)
				b.ResetTimer()
				for range b.N {
					replace(t, first)
				}
			})
		})
		b.Run(fmt.Sprintf("iptables-nft-restore/%d", n), func(b *testing.B) {
			text := first.Save(iptables.IPv4)
			text = strings.Replace(text, ":PREROUTING -", ":PREROUTING ACCEPT", 1)
			inNamespace(b, func(t testing.TB) {
				for range b.N {
					cmd := exec.Command("iptables-nft-restore")
					cmd.Stdin = strings.NewReader(text)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
			})
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	inNamespace(b, func(t testing.TB) {
		replace(t, excludedPorts(5000))
		b.ReportAllocs()
		for b.Loop() {
			load(t)
		}
	})
}
