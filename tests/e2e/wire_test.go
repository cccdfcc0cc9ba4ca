package e2e

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// stream is one direction of a TCP connection, as it passed a tap.
type stream struct{ from, to netip.AddrPort }

// tap listens on the way to a pod. stop returns what was said meanwhile.
func (m *mesh) tap(t testing.TB, p *pod) (stop func() map[stream][]byte) {
	t.Helper()
	tap, err := m.Host.Tap(p.link)
	if err != nil {
		t.Fatal(err)
	}
	return func() map[stream][]byte {
		t.Helper()
		frames, err := tap.Stop()
		if err != nil {
			t.Fatal(err)
		}
		return streams(frames)
	}
}

// streams puts together what the frames carry. On a veth nothing is lost or
// overtaken, so it comes in order.
func streams(frames [][]byte) map[stream][]byte {
	said := make(map[stream][]byte)
	for _, frame := range frames {
		if s, payload, ok := segment(frame); ok {
			said[s] = append(said[s], payload...)
		}
	}
	return said
}

// segment takes an Ethernet frame with a TCP segment apart.
func segment(frame []byte) (s stream, payload []byte, ok bool) {
	const ethernet = 14
	if len(frame) < ethernet {
		return stream{}, nil, false
	}
	from, to, tcp, ok := packet(binary.BigEndian.Uint16(frame[12:]), frame[ethernet:])
	if !ok || len(tcp) < 20 {
		return stream{}, nil, false
	}
	header := int(tcp[12]>>4) * 4
	if header > len(tcp) {
		return stream{}, nil, false
	}
	s.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp))
	s.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))
	return s, tcp[header:], true
}

// packet takes a packet of TCP apart: IPv4 (RFC 791), or IPv6 without extension
// headers (RFC 8200).
func packet(kind uint16, ip []byte) (from, to netip.Addr, tcp []byte, ok bool) {
	switch {
	case kind == unix.ETH_P_IP && len(ip) >= 20 && ip[9] == unix.IPPROTO_TCP:
		header, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
		if header > total || total > len(ip) {
			return from, to, nil, false
		}
		return netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[header:total], true
	case kind == unix.ETH_P_IPV6 && len(ip) >= 40 && ip[6] == unix.IPPROTO_TCP:
		total := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		if total > len(ip) {
			return from, to, nil, false
		}
		return netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[40:total], true
	default:
		return from, to, nil, false
	}
}

// isPlain tells whether a stream can be read by anybody on the way.
func isPlain(said []byte) bool {
	return bytes.Contains(said, []byte("HTTP/1.1")) || bytes.Contains(said, []byte(secret))
}

// wantTLS fails the test unless something was said to and from an address of the
// server, all of it TLS.
func (m *mesh) wantTLS(t testing.TB, said map[stream][]byte, at netip.AddrPort) {
	t.Helper()
	about := []question{m.client.out(at), m.server.inward(at)}
	to, from := 0, 0
	for s, text := range said {
		if s.to != at && s.from != at || len(text) == 0 {
			continue
		}
		if s.to == at {
			to++
		} else {
			from++
		}
		// A record of a handshake, of version 3.something (RFC 8446, 5.1).
		if !strings.HasPrefix(string(text), "\x16\x03") || isPlain(text) {
			m.errorf(t, about, "the wire carries %q from %s to %s, want TLS", text, s.from, s.to)
		}
	}
	if to == 0 || from == 0 {
		m.errorf(t, about, "the wire carries %d streams to %s and %d from it", to, at, from)
	}
}

// wantPlain fails the test unless plain text was said from an address: what a tap
// is good for.
func (m *mesh) wantPlain(t testing.TB, said map[stream][]byte, at netip.AddrPort, about []question) {
	t.Helper()
	for s, text := range said {
		if s.from == at && isPlain(text) {
			return
		}
	}
	m.errorf(t, about, "the wire carries no plain text from %s", at)
}
