package host_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// A socket takes what comes to its address and port, and to no other.
func TestListeners(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	for _, listen := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:7001"}, {"tcp4", "0.0.0.0:7002"}, {"tcp6", "[::1]:7003"}, {"tcp", "[::]:7004"},
	} {
		l, err := net.Listen(listen.network, listen.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	c, err := net.ListenPacket("udp4", "127.0.0.1:7005")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := host.ReadListeners(nstest.Here(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		protocol iptables.Protocol
		to       string
		want     bool
	}{
		{iptables.TCP, "127.0.0.1:7001", true}, {iptables.TCP, "10.0.0.1:7001", false}, {iptables.TCP, "127.0.0.1:7000", false},
		{iptables.TCP, "10.0.0.1:7002", true}, {iptables.TCP, "[::1]:7002", false},
		{iptables.TCP, "[::1]:7003", true}, {iptables.TCP, "[2001:db8::1]:7003", false}, {iptables.TCP, "127.0.0.1:7003", false},
		{iptables.TCP, "127.0.0.1:7004", true}, {iptables.TCP, "[2001:db8::1]:7004", true},
		{iptables.UDP, "127.0.0.1:7005", true}, {iptables.TCP, "127.0.0.1:7005", false}, {iptables.UDP, "127.0.0.1:7001", false},
	} {
		if got := l.Has(test.protocol, netip.MustParseAddrPort(test.to)); got != test.want {
			t.Errorf("%s to %s: got %t", test.protocol, test.to, got)
		}
	}
	at := l.At(iptables.TCP, 7001)
	if len(at) != 1 || at[0].UID != uint32(os.Getuid()) || at[0].Inode == 0 || at[0].Local.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("at port 7001: %v", at)
	}
	if l.HasPort(iptables.TCP, iptables.IPv4, 7003) || !l.HasPort(iptables.TCP, iptables.IPv6, 7003) || !l.HasPort(iptables.TCP, iptables.IPv4, 7004) {
		t.Error("the wrong family has a port")
	}
}
