package rtnetlink_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Every test works in a network namespace of its own, which takes root, and compares with
// what the programs of iproute2 do.

func run(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		words := strings.Fields(c)
		nstest.Run(t, words[0], words[1:]...)
	}
}

// A thousand interfaces, more than one answer holds, are all listed.
func TestLinks(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	const pairs = 500
	var lines strings.Builder
	for i := range pairs {
		fmt.Fprintf(&lines, "link add d%d type veth peer name e%d\n", i, i)
	}
	runBatch(t, lines.String())
	links, err := rtnetlink.Links(t.Context(), ns)
	if err != nil || len(links) < 2*pairs+1 {
		t.Fatalf("got %d, %v", len(links), err)
	}
	if lo := links[0]; lo.Index != rtnetlink.LoopbackIndex || lo.Name != "lo" || !lo.IsUp() || !lo.IsLoopback() {
		t.Errorf("got %+v", lo)
	}
	last := links[len(links)-1]
	if last.Name != fmt.Sprint("d", pairs-1) || last.IsUp() || last.IsLoopback() || last.IsOperational() {
		t.Errorf("got %+v", last)
	}
	if got, err := rtnetlink.LinkByIndex(t.Context(), ns, last.Index); err != nil || !reflect.DeepEqual(got, last) {
		t.Errorf("got %+v, %v, want %+v", got, err, last)
	}
	run(t, "ip link property add dev d7 altname a-rather-long-name-of-it")
	for _, name := range []string{"d7", "a-rather-long-name-of-it"} {
		if got, err := rtnetlink.LinkByName(t.Context(), ns, name); err != nil || got.Name != "d7" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if got, err := rtnetlink.LinkByName(t.Context(), ns, "none"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func runBatch(t *testing.T, lines string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "ip -batch "+file)
}

// Both ends of a pair come up, each in its namespace, and go together.
func TestPair(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	here := nstest.Here(t)
	there, err := namespace.New()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	file, err := there.File()
	if err == nil {
		err = rtnetlink.AddPair(t.Context(), here, "pair", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*namespace.Namespace{here, there} {
		link, err := rtnetlink.LinkByName(t.Context(), ns, "pair")
		if err == nil {
			err = rtnetlink.SetUp(t.Context(), ns, link.Index)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link, err := rtnetlink.LinkByName(t.Context(), here, "pair")
	if err != nil || !link.IsUp() {
		t.Errorf("got %+v, %v", link, err)
	}
	if err := rtnetlink.AddPair(t.Context(), here, "pair", file); !errors.Is(err, unix.EEXIST) {
		t.Errorf("again: got %v", err)
	}
	if err := rtnetlink.DeleteLink(t.Context(), here, link.Index); err != nil {
		t.Error(err)
	}
	if got, err := rtnetlink.LinkByName(t.Context(), there, "pair"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("the other end is still there: got %+v, %v", got, err)
	}
}

// The address of an interface that has a peer has no network.
func TestAddresses(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	run(t, "ip addr add 10.0.0.1/24 dev lo", "ip addr add 10.1.0.1 peer 10.1.0.2/30 dev lo",
		"ip addr add fd00::1/64 dev lo nodad", "ip addr add fd01::1 peer fd01::2/96 dev lo nodad")
	check := func(family byte, want string) {
		t.Helper()
		addresses, err := rtnetlink.Addresses(t.Context(), ns, family)
		var got []string
		for _, a := range addresses {
			got = append(got, a.Prefix.String())
			if a.Link != rtnetlink.LoopbackIndex || a.Flags&unix.IFA_F_PERMANENT == 0 {
				t.Errorf("got %+v", a)
			}
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	const v4, v6 = "127.0.0.1/8 10.0.0.1/24 10.1.0.1/32", "fd01::1/128 fd00::1/64 ::1/128"
	check(unix.AF_INET, v4)
	check(unix.AF_INET6, v6)
	check(unix.AF_UNSPEC, v4+" "+v6)

	a := rtnetlink.Address{Link: rtnetlink.LoopbackIndex, Prefix: netip.MustParsePrefix("10.2.0.1/32")}
	if err := rtnetlink.AddAddress(t.Context(), ns, a); err != nil {
		t.Error(err)
	}
	check(unix.AF_INET, v4+" 10.2.0.1/32")
	if err := rtnetlink.AddAddress(t.Context(), ns, a); !errors.Is(err, unix.EEXIST) {
		t.Errorf("again: got %v", err)
	}
	if err := rtnetlink.DeleteAddress(t.Context(), ns, a); err != nil {
		t.Error(err)
	}
	if err := rtnetlink.DeleteAddress(t.Context(), ns, a); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("again: got %v", err)
	}
	check(unix.AF_INET, v4)
}

// Addresses are asked for along with the routes, by interface.
func TestAskedAddresses(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	run(t, "ip link set lo up", "ip link add eth0 type veth peer name nobody", "ip link set eth0 up", "ip -6 addr add ::6/128 dev lo nodad", "ip -6 addr add 2001:db8::6/64 dev eth0 nodad")
	asked := []rtnetlink.Address{{Link: rtnetlink.LoopbackIndex, Prefix: netip.MustParsePrefix("2001:db8::6/64")}}
	for _, prefix := range []string{"::6/128", "::7/128"} {
		asked = append(asked, rtnetlink.Address{Link: rtnetlink.LoopbackIndex, Prefix: netip.MustParsePrefix(prefix)})
	}
	_, there, err := rtnetlink.Routes(t.Context(), nstest.Here(t), asked...)
	if err != nil || len(there) != 1 || there[0].Link != asked[1].Link || there[0].Prefix != asked[1].Prefix {
		t.Errorf("got %v, %v", there, err)
	}
}

// Default routes of every table are listed, and those to single addresses of others; the rest is
// not.
func TestRoutes(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	run(t, "ip link add eth0 type veth peer name nobody", "ip link set nobody up", "ip link set eth0 up", "ip addr add 10.0.0.7/24 dev eth0",
		"ip route add default via 10.0.0.1 metric 5 proto 18", "ip route add default tos 0x10 via 10.0.0.2",
		"ip route add 10.9.0.0/16 via 10.0.0.3 src 10.0.0.7", "ip route add local default dev lo table 1234 proto 109",
		"ip -6 route add unreachable default table 77", "ip route add blackhole 10.8.0.0/16", "ip route add blackhole 10.8.0.1/32",
		"ip route add 10.7.0.1/32 dev eth0 scope link table 101")
	eth0, err := rtnetlink.LinkByName(t.Context(), ns, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	routes, there, err := rtnetlink.Routes(t.Context(), ns)
	if err != nil || there != nil {
		t.Fatalf("got the addresses %v, %v", there, err)
	}
	found := make(map[rtnetlink.Route]bool)
	for _, r := range routes {
		found[r] = true
	}
	for _, want := range []rtnetlink.Route{
		{Family: unix.AF_INET, Type: unix.RTN_UNICAST, Table: 254, Protocol: 18, Priority: 5, Link: eth0.Index, Gateway: netip.MustParseAddr("10.0.0.1")},
		{Family: unix.AF_INET, Type: unix.RTN_UNICAST, Table: 254, Protocol: unix.RTPROT_BOOT, TOS: 0x10, Link: eth0.Index, Gateway: netip.MustParseAddr("10.0.0.2")},
		{Family: unix.AF_INET, Type: unix.RTN_LOCAL, Table: 1234, Protocol: 109, Scope: unix.RT_SCOPE_HOST, Link: rtnetlink.LoopbackIndex},
		{Family: unix.AF_INET, Type: unix.RTN_UNICAST, To: netip.MustParseAddr("10.7.0.1"), Table: 101, Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_LINK, Link: eth0.Index},
		{Family: unix.AF_INET6, Type: unix.RTN_UNREACHABLE, Table: 77, Protocol: unix.RTPROT_BOOT, Priority: 1024, Link: rtnetlink.LoopbackIndex},
	} {
		if !found[want] {
			t.Errorf("%+v is missing", want)
		}
		delete(found, want)
	}
	if len(found) != 0 {
		t.Errorf("got %v too", found)
	}

	r, err := rtnetlink.RouteTo(t.Context(), ns, netip.MustParseAddr("10.9.0.1"))
	if err != nil || r.Type != unix.RTN_UNICAST || r.Link != eth0.Index || r.Source != netip.MustParseAddr("10.0.0.7") {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := rtnetlink.RouteTo(t.Context(), ns, netip.IPv6Loopback()); err != nil || r.Type != unix.RTN_LOCAL {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := rtnetlink.RouteTo(t.Context(), ns, netip.MustParseAddr("2001:db8::1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// What a rule asks for beside the mark is seen, whatever it is.
func TestRules(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	for rule, want := range map[string]rtnetlink.Rule{
		"fwmark 7 lookup 200":                         {Mark: 7, Mask: 0xffffffff, Table: 200, Action: unix.FR_ACT_TO_TBL},
		"fwmark 7/0xff lookup 2000 protocol 109":      {Mark: 7, Mask: 0xff, Table: 2000, Action: unix.FR_ACT_TO_TBL, Protocol: 109},
		"lookup 200":                                  {Table: 200, Action: unix.FR_ACT_TO_TBL},
		"fwmark 7 blackhole":                          {Mark: 7, Mask: 0xffffffff, Action: unix.FR_ACT_BLACKHOLE},
		"unreachable":                                 {Action: unix.FR_ACT_UNREACHABLE},
		"nop":                                         {Action: unix.FR_ACT_NOP},
		"goto 32766":                                  {Action: unix.FR_ACT_GOTO, More: true, Unknown: true},
		"not fwmark 7 lookup 200":                     {Mark: 7, Mask: 0xffffffff, Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"to 10.0.0.0/8 lookup 200":                    {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, To: netip.MustParsePrefix("10.0.0.0/8")},
		"from 10.0.0.0/8 lookup 200":                  {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"dsfield 0x10 lookup 200":                     {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"iif lo lookup 200":                           {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, In: "lo"},
		"oif eth9 lookup 200":                         {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"uidrange 0-99 lookup 200":                    {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"ipproto tcp dport 80-90 lookup 200":          {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"lookup 200 suppress_prefixlength 0":          {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"lookup 200 suppress_ifgroup 3":               {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"fwmark 7 lookup 200 realms 3":                {Mark: 7, Mask: 0xffffffff, Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"tun_id 5 lookup 200":                         {Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
		"fwmark 0/0xff lookup 200 suppress_ifgroup 1": {Mask: 0xff, Table: 200, Action: unix.FR_ACT_TO_TBL, More: true, Unknown: true},
	} {
		want.Family, want.Priority = unix.AF_INET, 100
		run(t, "ip rule add pref 100 "+rule)
		rules, err := rtnetlink.Rules(t.Context(), ns)
		if err != nil {
			t.Fatal(err)
		}
		// Those of IPv4 come first, and the first of those is the kernel's.
		if rules[1] != want {
			t.Errorf("%s: got %+v, want %+v", rule, rules[1], want)
		}
		run(t, "ip rule del pref 100")
	}
}

// A request of a context that has ended is not made.
func TestCancelled(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rtnetlink.AddRule(ctx, nstest.Here(t), rtnetlink.Rule{Family: unix.AF_INET, Table: 200}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
