package tests

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/lab"
)

// portLists are the lengths of the lists of excluded ports.
var portLists = []int{3, 300, 4000}

// BenchmarkConnections counts how many connections per second one client opens
// through installed rules, with ever longer lists of excluded ports that it does
// not use. It measures all cases in turn, again and again, and reports medians: of
// the figures, and of what each is of the shortest list's in the same round, for the
// machine's mood falls on a round's cases alike.
func BenchmarkConnections(b *testing.B) {
	for _, out := range []bool{true, false} {
		b.Run(map[bool]string{true: "out", false: "in"}[out], func(b *testing.B) {
			measureConnections(b, out)
		})
	}
}

const (
	connectionRounds = 40
	connectionRound  = 150 * time.Millisecond
)

func measureConnections(b *testing.B, out bool) {
	var cases []*connectionCase
	for _, backend := range []string{"iptables-nft", "nftables"} {
		for _, n := range portLists {
			cases = append(cases, newConnectionCase(b, backend, n, out))
		}
	}
	for b.Loop() {
		for range connectionRounds {
			for _, c := range cases {
				c.measure(b)
			}
		}
	}
	for i, c := range cases {
		b.ReportMetric(median(c.rates), c.name+"-conn/s")
		b.ReportMetric(100*median(c.ratios(cases[i-i%len(portLists)])), c.name+"-%")
	}
	b.ReportMetric(0, "ns/op")
}

type connectionCase struct {
	name  string
	from  *lab.Namespace
	to    netip.AddrPort
	rates []float64
}

func newConnectionCase(b *testing.B, backend string, n int, out bool) *connectionCase {
	p := newPod(b, backend)
	ports := make([]string, n)
	for i := range ports {
		ports[i] = fmt.Sprint(20001 + 2*i)
	}
	list := strings.Join(ports, ",")
	apply(b, p, "--ipv6=off", "--excluded-ports="+list, "--excluded-outbound-ports="+list)
	c := &connectionCase{name: fmt.Sprintf("%s-%d", backend, n)}
	listen := lab.Addr{V4: netip.IPv4Unspecified()}.Port(lab.IPv4, inboundPort)
	c.from, c.to = p.Peer, lab.PodAddr.Port(lab.IPv4, 7777)
	if out {
		listen = lab.Addr{V4: netip.IPv4Unspecified()}.Port(lab.IPv4, outboundPort)
		c.from, c.to = p.Pod, lab.PeerAddr.Port(lab.IPv4, 7777)
	}
	serveQuickly(b, p.Pod, listen)
	return c
}

// serveQuickly accepts connections and closes them.
func serveQuickly(b *testing.B, in *lab.Namespace, at netip.AddrPort) {
	b.Helper()
	ready := make(chan error, 1)
	go func() {
		err := in.As(lab.Identity{UID: 1337, GID: 1337}, func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}), unix.Listen(fd, 4096))
			ready <- err
			b.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
			for err == nil {
				var client int
				if client, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC); err == nil {
					unix.Close(client)
				}
			}
			return unix.Close(fd)
		})
		if err != nil {
			ready <- err
		}
	}()
	if err := <-ready; err != nil {
		b.Fatal(err)
	}
}

// measure opens connections for the time of a round. Each is reset, so that no
// port has to wait for the end of an old connection.
func (c *connectionCase) measure(b *testing.B) {
	b.Helper()
	err := c.from.As(lab.Identity{UID: 5000, GID: 5000}, func() error {
		to := &unix.SockaddrInet4{Port: int(c.to.Port()), Addr: c.to.Addr().As4()}
		n, start := 0, time.Now()
		for ; time.Since(start) < connectionRound; n++ {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = errors.Join(
				unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
				unix.Connect(fd, to), unix.Close(fd))
			if err != nil {
				return err
			}
		}
		c.rates = append(c.rates, float64(n)/time.Since(start).Seconds())
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// ratios returns what the figures are of another case's, round by round.
func (c *connectionCase) ratios(of *connectionCase) []float64 {
	ratios := make([]float64, len(c.rates))
	for i, rate := range c.rates {
		ratios[i] = rate / of.rates[i]
	}
	return ratios
}

func median(figures []float64) float64 {
	return slices.Sorted(slices.Values(figures))[len(figures)/2]
}
