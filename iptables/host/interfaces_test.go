package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Bridges and taps are virtual machines', unless they are ports of something else or lead to
// other machines; tunnels and pairs are not.
func TestFindUplinks(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	for _, command := range []string{
		"ip link add eth0 type veth peer name far0",
		"ip link add net1 type veth peer name far1",
		"ip link add docker0 type bridge",
		"ip link add br-ext type bridge",
		"ip tuntap add tap0 mode tap",
		"ip tuntap add tap1 mode tap",
		"ip tuntap add tun0 mode tun",
		"ip link set tap1 master docker0",
		"ip link set eth0 up",
		"ip link set far0 up",
		"ip link set br-ext up",
		"ip addr add 10.244.1.7/24 dev eth0",
		"ip route add default via 10.244.1.1 dev eth0",
		"ip route add default dev br-ext table 7",
		"ip route add unreachable default table 8",
		"ip route add local default dev lo table 133",
	} {
		words := strings.Fields(command)
		nstest.Run(t, words[0], words[1:]...)
	}
	found, err := FindUplinks(t.Context(), nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]Interface)
	for _, i := range found {
		got[i.Name] = i
	}
	want := map[string]Interface{
		"eth0": {Name: "eth0", Up: true, Uplink: true}, "far0": {Name: "far0", Up: true}, "net1": {Name: "net1"}, "far1": {Name: "far1"},
		"docker0": {Name: "docker0", Virtual: true}, "br-ext": {Name: "br-ext", Up: true, Virtual: true, Uplink: true},
		"tap0": {Name: "tap0", Virtual: true}, "tap1": {Name: "tap1"}, "tun0": {Name: "tun0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	there, err := Interfaces(t.Context(), nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i].Uplink = false
	}
	if diff := cmp.Diff(found, there); diff != "" {
		t.Errorf("with routes (-), without (+):\n%s", diff)
	}
}

func TestAddressesByName(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	for _, command := range []string{
		"ip link add docker0 type bridge",
		"ip addr add 172.17.0.1/16 dev docker0",
		"ip addr add 172.17.0.2/16 dev docker0",
		"ip addr add fe80::1/64 dev docker0 nodad",
		"ip addr add fd00:17::1/64 dev docker0 nodad",
		"ip link add tap0 type bridge",
	} {
		words := strings.Fields(command)
		nstest.Run(t, words[0], words[1:]...)
	}
	all, err := AddressesByName(t.Context(), nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[iptables.Family]string{iptables.IPv4: "172.17.0.1", iptables.IPv6: "fd00:17::1"} {
		if got := RedirectedTo(all["docker0"], f); got != netip.MustParseAddr(want) {
			t.Errorf("%s by docker0: %v of %v, want %s", f, got, all, want)
		}
		if got := RedirectedTo(all["tap0"], f); got.IsValid() {
			t.Errorf("%s by tap0: %v", f, got)
		}
	}
	if len(all["lo"]) > 0 {
		t.Errorf("lo is among %v", all)
	}
}
