package tests

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// A segment that belongs to no connection is answered by a reset, which is how a
// stray packet can end a connection that another machine still believes in; with
// --drop-invalid it is not answered.
func TestTrafficDropInvalid(t *testing.T) {
	t.Parallel()
	modes := map[string]bool{"REDIRECT": false, "TPROXY": true}
	forEachBackend(t, func(t *testing.T, backend string) {
		for mode, transparent := range modes {
			t.Run(mode, func(t *testing.T) {
				p := newPod(t, backend)
				serveProxy(t, p, transparent)
				for _, f := range lab.Families() {
					serve(t, p, to(lab.PodAddr, 8080), false, f)
				}
				wantReset(t, p, "before", true)
				apply(t, p, "-m", mode)
				wantReset(t, p, "applied without --drop-invalid", true)
				apply(t, p, "-m", mode, "--drop-invalid")
				wantReset(t, p, "applied", false)
				for _, f := range lab.Families() {
					exchange(t, dial(t, p.Peer, lab.Client{}, lab.PodAddr.Port(f, 8080), proxyIn))
				}
				cleanup(t, p)
				wantReset(t, p, "cleaned up", true)
			})
		}
	})
}

// An excluded interface is left alone: what comes in there is answered by a reset,
// invalid or not, while on the others it is dropped.
func TestTrafficDropInvalidExcludedInterface(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		if err := p.AddNet1(); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"REDIRECT", "TPROXY"} {
			apply(t, p, "-m", mode, "--drop-invalid", "--excluded-interfaces=net1")
			wantReset(t, p, mode, false)
			wantResetFrom(t, p, lab.PeerNet1Addr, lab.PodNet1Addr, mode+", net1", true)
		}
	})
}

// wantReset sends a stray segment to the pod with each family and fails unless it
// is reset, or ignored.
func wantReset(t *testing.T, p pod, phase string, want bool) {
	t.Helper()
	wantResetFrom(t, p, lab.PeerAddr, lab.PodAddr, phase, want)
}

// wantResetFrom is wantReset for the addresses of any link.
func wantResetFrom(t *testing.T, p pod, src, dst lab.Addr, phase string, want bool) {
	t.Helper()
	for _, f := range lab.Families() {
		patience := lab.DefaultTimeout
		if !want {
			patience = noReset
		}
		got, err := strayIsReset(p.Peer, src.Port(f, 40001), dst.Port(f, 8080), patience)
		if err != nil {
			t.Fatalf("%s: %s: %v", phase, f, err)
		}
		if got != want {
			t.Errorf("%s: %s: stray segment was reset: %t, want %t", phase, f, got, want)
		}
	}
}

// noReset is how long a reset is waited for that should not come. It is sent at once.
const noReset = 300 * time.Millisecond

// TCP flags, RFC 9293, section 3.1.
const (
	flagFIN = 0x01
	flagRST = 0x04
	flagACK = 0x10
)

// strayIsReset sends the end of a connection that never was, and tells whether a
// reset comes back. To connection tracking it is invalid; a bare ACK would be
// taken for a connection that began earlier (nf_conntrack_tcp_loose).
func strayIsReset(from *lab.Namespace, src, dst netip.AddrPort, patience time.Duration) (bool, error) {
	var conn *net.IPConn
	err := from.Do(func() error {
		network := "ip4:tcp"
		if src.Addr().Is6() {
			network = "ip6:tcp"
		}
		var err error
		conn, err = net.ListenIP(network, &net.IPAddr{IP: src.Addr().AsSlice()})
		return err
	})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := conn.WriteToIP(segment(src, dst, flagFIN|flagACK), &net.IPAddr{IP: dst.Addr().AsSlice()}); err != nil {
		return false, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	buf := make([]byte, 2048)
	for {
		size, _, err := conn.ReadFromIP(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if size >= 20 && binary.BigEndian.Uint16(buf) == dst.Port() && buf[13]&flagRST != 0 {
			return true, nil
		}
	}
}

// segment returns a TCP segment without options or data.
func segment(src, dst netip.AddrPort, flags byte) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s[0:], src.Port())
	binary.BigEndian.PutUint16(s[2:], dst.Port())
	binary.BigEndian.PutUint32(s[4:], 1000) // sequence number
	binary.BigEndian.PutUint32(s[8:], 2000) // acknowledgement number
	s[12] = 5 << 4                          // data offset, in words
	s[13] = flags
	binary.BigEndian.PutUint16(s[14:], 1024) // window
	binary.BigEndian.PutUint16(s[16:], checksum(src.Addr(), dst.Addr(), s))
	return s
}

// checksum returns the TCP checksum of a segment, which also covers a pseudo
// header: both addresses, the protocol number and the length (RFC 9293, section
// 3.1; RFC 8200, section 8.1).
func checksum(src, dst netip.Addr, s []byte) uint16 {
	covered := append(src.AsSlice(), dst.AsSlice()...)
	covered = binary.BigEndian.AppendUint16(covered, 6)
	covered = binary.BigEndian.AppendUint16(covered, uint16(len(s)))
	covered = append(covered, s...)
	var sum uint32
	for i := 0; i < len(covered); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(covered[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
