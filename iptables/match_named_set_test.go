package iptables

import (
	"net/netip"
	"testing"
)

// What a node's rule has is read as it is written, and what it leaves open is in doubt.
func TestNodesRule(t *testing.T) {
	t.Parallel()
	const line = "-A ISTIO_POSTRT -p tcp -m owner --socket-exists -m set --match-set pods dst -j SNAT --to-source 169.254.7.127\n"
	rs := parse(t, "*nat\n:ISTIO_POSTRT - [0:0]\n"+line+"COMMIT\n")
	r := rs.Table(IPv4, Nat).Chain("ISTIO_POSTRT").Rules[0]
	want := Rule{
		Protocol: ProtocolMatch{Protocol: TCP}, Matches: []Match{Owner{Socket: true}, NamedSet{Name: "pods"}},
		Target: SNAT{netip.MustParseAddr("169.254.7.127")},
	}
	if !r.Equal(want) || len(MatchesOf[NamedSet](r)) != 1 || r.Target != want.Target {
		t.Errorf("got %+v", r)
	}
	sent := Packet{Protocol: TCP, Owner: &SocketOwner{}}
	forwarded := Packet{Protocol: TCP}
	if ok, err := forwarded.Matches(&r); ok || err != nil {
		t.Errorf("a forwarded packet: %t, %v", ok, err)
	}
	if _, err := sent.Matches(&r); DoubtOf(err) == nil {
		t.Errorf("a packet of this machine: %v", err)
	}
	content := &AddressSet{Family: IPv4, Name: "pods", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.9")}}
	r.Matches = []Match{Owner{Socket: true}, NamedSet{Name: "pods", Content: content}}
	for to, want := range map[string]bool{"10.0.0.7": true, "10.0.0.8": false, "10.0.0.9": true} {
		sent.Destination = netip.MustParseAddr(to)
		if ok, err := sent.Matches(&r); ok != want || err != nil {
			t.Errorf("a packet of this machine to %s: %t, %v", to, ok, err)
		}
	}
	// Others have more words.
	for _, text := range []string{"-m set --match-set pods src -j SNAT --to-source 1.2.3.4:80", "-m set ! --match-set pods dst -j SNAT --to-source 1.2.3.4-1.2.3.9"} {
		rs := parse(t, "*nat\n:X - [0:0]\n-A X -p tcp "+text+"\nCOMMIT\n")
		other := rs.Table(IPv4, Nat).Chain("X").Rules[0]
		if _, known := other.Target.(SNAT); known || len(MatchesOf[NamedSet](other)) > 0 || other.String() != "-p tcp "+text {
			t.Errorf("%s: got %s", text, other)
		}
	}
}
