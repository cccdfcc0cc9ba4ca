package trace

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// Sums over what was sent, checksums included, are zero (RFC 1071), and lengths
// are those of the packet.
func TestEncode(t *testing.T) {
	for _, to := range []string{"10.244.1.7", "2001:db8::7"} {
		for _, protocol := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
			p := iptables.Packet{
				Protocol: protocol, SourcePort: 40000, DestinationPort: 8080,
				Source: netip.MustParseAddr(to).Next(), Destination: netip.MustParseAddr(to),
			}
			b, err := encode(p)
			if err != nil {
				t.Fatal(err)
			}
			header, number, length := 20, b[min(9, len(b)-1)], binary.BigEndian.Uint16(b[2:])
			if p.Destination.Is6() {
				header, number, length = 40, b[6], 40+binary.BigEndian.Uint16(b[4:])
			} else if sum := checksum(b[:header]); sum != 0 {
				t.Errorf("%s %s: header sums up to %#x", protocol, to, sum)
			}
			if int(length) != len(b) {
				t.Errorf("%s %s: length %d, want %d", protocol, to, length, len(b))
			}
			segment := b[header:]
			pseudo := slices.Concat(p.Source.AsSlice(), p.Destination.AsSlice(), []byte{0, byte(len(segment)), 0, number})
			if sum := checksum(append(pseudo, segment...)); sum != 0 {
				t.Errorf("%s %s: segment sums up to %#x", protocol, to, sum)
			}
			if port := binary.BigEndian.Uint16(segment[2:]); port != 8080 {
				t.Errorf("%s %s: port %d", protocol, to, port)
			}
		}
	}
	if _, err := encode(iptables.Packet{Protocol: "icmp"}); err == nil {
		t.Error("icmp is sent as something else")
	}
}
