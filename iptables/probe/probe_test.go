package probe

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// enter moves the test into a namespace with an address and a way out.
func enter(t *testing.T) Want {
	t.Helper()
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "nobody")
	nstest.Run(t, "ip", "link", "set", "nobody", "up")
	nstest.Run(t, "ip", "link", "set", "eth0", "up")
	nstest.Run(t, "ip", "addr", "add", "10.1.0.7/24", "dev", "eth0")
	nstest.Run(t, "ip", "route", "add", "default", "dev", "eth0")
	addresses := []netip.Prefix{netip.MustParsePrefix("10.1.0.7/24")}
	return Want{
		Rules:     form.IPTables(sidecar.Default().Plan(host.Host{Addresses: addresses}).Rules),
		Ownership: sidecar.Ownership(),
		Policy:    sidecar.Policy{},
		Addresses: addresses,
		Timeout:   5 * time.Second,
	}
}

func install(t *testing.T, rules iptables.Ruleset) {
	t.Helper()
	if err := nftables.New(nstest.Here(t), sidecar.Ownership()).Replace(t.Context(), installed.Backend{}, rules); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, want Want) map[string]Step {
	t.Helper()
	before := state(t)
	steps, err := Run(t.Context(), nstest.Here(t), want)
	if err != nil {
		t.Fatal(err)
	}
	if after := state(t); after != before {
		t.Errorf("before: %s\nafterwards: %s", before, after)
	}
	named := make(map[string]Step)
	for _, s := range steps {
		named[s.Name] = s
	}
	return named
}

// state is what a probe could leave behind: interfaces, the thread's namespace
// and its file system ids.
func state(t *testing.T) string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return strings.Join(names, " ") + " " + ns.UniqueId() + " " + netip.AddrFrom4([4]byte{byte(uid), byte(gid)}).String()
}

// Everything arrives where the rules send it, and nothing is left behind.
func TestRun(t *testing.T) {
	want := enter(t)
	install(t, want.Rules)
	steps := run(t, want)
	if len(steps) != 5 {
		t.Errorf("%d steps, want 5", len(steps))
	}
	for _, s := range steps {
		if s.Outcome != Passed {
			t.Error(s)
		}
	}
}

// Without rules nothing arrives, which takes no longer than it may.
func TestRunBounded(t *testing.T) {
	want := enter(t)
	want.Timeout = 700 * time.Millisecond
	start := time.Now()
	steps := run(t, want)
	if took := time.Since(start); took > want.Timeout+2*time.Second {
		t.Errorf("took %s, bounded by %s", took, want.Timeout)
	}
	for _, name := range []string{"outbound", "inbound", "proxy to itself"} {
		if s := steps[name]; s.Outcome != Failed || s.Detail == "" {
			t.Error(s)
		}
	}
	for _, name := range []string{"proxy's outbound", "proxy to application"} {
		if s := steps[name]; s.Outcome != Passed {
			t.Error(s)
		}
	}
}

// Rules that send the proxy's own connections to itself are found out.
func TestRunLoop(t *testing.T) {
	want := enter(t)
	install(t, want.Rules)
	loop := iptables.NewTable(iptables.IPv4, iptables.Nat)
	loop.Append("ISTIO_OUTPUT", iptables.Rule{
		Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP},
		Target:   iptables.Redirect{Ports: iptables.Port(15001)},
	})
	loop.Append(iptables.Output, iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_OUTPUT"}})
	install(t, iptables.Ruleset{Tables: []iptables.Table{loop}})

	steps := run(t, want)
	for name, arrived := range map[string]uint16{
		"proxy's outbound": 15001, "proxy to itself": 15001, "proxy to application": 15001,
	} {
		if s := steps[name]; s.Outcome != Failed || s.Arrived != arrived {
			t.Error(s)
		}
	}
}

// A server that is not ours is not taken for the proxy, and the listeners of a
// running proxy are left alone.
func TestRunInUse(t *testing.T) {
	want := enter(t)
	install(t, want.Rules)
	other := newPost()
	defer other.close()
	at := place{iptables.IPv4, iptables.TCP, netip.IPv4Unspecified(), 15001}
	if _, err := other.listen(at, socketOptions{}); err != nil {
		t.Fatal(err)
	}
	steps := run(t, want)
	for _, name := range []string{"outbound", "proxy's outbound"} {
		if s := steps[name]; s.Outcome != Unknown || !strings.Contains(s.String(), "cannot tell: the port is in use") {
			t.Error(s)
		}
	}
	if s := steps["inbound"]; s.Outcome != Passed {
		t.Error(s)
	}
}

// Who interrupts it gets no answer, at once, and nothing is left behind.
func TestRunInterrupted(t *testing.T) {
	want := enter(t)
	want.Timeout = time.Minute
	before := state(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	steps, err := Run(ctx, nstest.Here(t), want)
	if steps != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %d steps, error %v", len(steps), err)
	}
	if after := state(t); after != before {
		t.Errorf("before: %s\nafterwards: %s", before, after)
	}
}

func TestStepString(t *testing.T) {
	t.Parallel()
	s := Step{Name: "outbound", Family: "IPv4", Protocol: iptables.TCP, Who: "user 1", To: netip.MustParseAddrPort("192.0.2.1:80"), Want: 7}
	for want, change := range map[string]func(*Step){
		"outbound IPv4: a connection of user 1 to 192.0.2.1:80 arrived at port 7":                        func(s *Step) { s.Outcome, s.Arrived = Passed, 7 },
		"outbound IPv4: a connection of user 1 to 192.0.2.1:80 did not arrive at port 7: no answer":      func(s *Step) { s.Outcome, s.Detail = Failed, "no answer" },
		"outbound IPv4: a connection of user 1 to 192.0.2.1:80 arrived at port 8: it has to arrive at 7": func(s *Step) { s.Outcome, s.Arrived, s.Detail = Failed, 8, "it has to arrive at 7" },
		"outbound IPv4: a connection of user 1 to 192.0.2.1:80: cannot tell: why":                        func(s *Step) { s.Outcome, s.Detail = Unknown, "why" },
		"outbound IPv4: a datagram of user 1 from ::6 to 192.0.2.1:80 was left alone": func(s *Step) {
			s.Outcome, s.Want, s.Protocol, s.From = Passed, 0, iptables.UDP, netip.MustParseAddr("::6")
		},
	} {
		s := s
		change(&s)
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
