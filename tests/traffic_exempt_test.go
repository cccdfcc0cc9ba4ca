package tests

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// TestTrafficOfExemptClients is about who connects, not where to.
func TestTrafficOfExemptClients(t *testing.T) {
	clients := []check{
		{name: "excluded", from: peer().at(lab.OtherOutside), to: to(lab.PodAddr, 8080), want: pods},
		{name: "other", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "neighbour", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "outbound to the same", from: app(), to: to(lab.OtherOutside, 80), want: proxyOut},
	}
	const sources = "--excluded-source-cidrs=198.51.100.0/24,2001:db8:51::/48"
	runScenarios(t, []scenario{
		{name: "clients", args: []string{sources}, checks: clients},
		{name: "clients of listed ports", args: []string{sources, "-b", "8080"}, checks: clients},
		{name: "clients, TPROXY", args: []string{sources, "-m", "TPROXY"}, transparent: true, checks: clients},
	})
}

func TestTrafficOfExemptUsers(t *testing.T) {
	runScenarios(t, []scenario{{
		name: "users",
		args: []string{"--redirect-dns", "--excluded-uids=6000,6010-6019,udp:53:6001,3306:6002,tcp:6003"},
		checks: []check{
			{name: "wholly", from: user(6000, 5000), to: to(lab.Outside, 80), want: peers},
			{name: "wholly, UDP query", from: user(6000, 5000), to: to(lab.Resolver, 53), udp: true, want: peers},
			{name: "wholly, TCP query", from: user(6000, 5000), to: to(lab.Resolver, 53), want: peers},
			{name: "first of range", from: user(6010, 5000), to: to(lab.Outside, 80), want: peers},
			{name: "last of range", from: user(6019, 5000), to: to(lab.Outside, 80), want: peers},
			{name: "above range", from: user(6020, 5000), to: to(lab.Outside, 80), want: proxyOut},
			{name: "queries only, UDP query", from: user(6001, 5000), to: to(lab.Resolver, 53), udp: true, want: peers},
			{name: "queries only, TCP query", from: user(6001, 5000), to: to(lab.Resolver, 53), want: proxyDNS},
			{name: "queries only, TCP", from: user(6001, 5000), to: to(lab.Outside, 80), want: proxyOut},
			{name: "port only", from: user(6002, 5000), to: to(lab.Outside, 3306), want: peers},
			{name: "port only, other port", from: user(6002, 5000), to: to(lab.Outside, 80), want: proxyOut},
			{name: "protocol only, TCP", from: user(6003, 5000), to: to(lab.Outside, 80), want: peers},
			{name: "protocol only, UDP query", from: user(6003, 5000), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
			{name: "application", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			{name: "application, UDP query", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		},
	}})
}

// The answers to exempt users belong to the connections of their queries: a filter
// that lets in nothing else lets them in.
func TestTrafficOfExemptUsersBehindFilter(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, false)
		apply(t, p, "--redirect-dns", "--excluded-uids=6000,udp:6001,50-60:6002")
		for _, f := range lab.Families() {
			serve(t, p, to(lab.Resolver, 53), true, f)
		}
		for _, f := range iptables.Families() {
			const filter = "*filter\n-A INPUT ! -i lo -p udp -m conntrack --ctstate NEW -j DROP\nCOMMIT\n"
			program(t, p, filter, programOf(backend, f, "restore"), "--noflush")
		}
		for _, f := range lab.Families() {
			for uid := uint32(6000); uid <= 6002; uid++ {
				c := check{from: user(uid, 5000), to: to(lab.Resolver, 53), udp: true, want: peers}
				if err := (scenario{}).check(t, p, c, f, true); err != nil {
					t.Errorf("user %d, %s: %v", uid, f, err)
				}
			}
		}
	})
}
