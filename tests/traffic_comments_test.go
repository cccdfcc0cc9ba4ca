package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// Comments change nothing for anybody's traffic.
func TestTrafficWithComments(t *testing.T) {
	args := []string{"--comments", "--redirect-dns", "--excluded-ports=15020", "--excluded-cidrs=198.51.100.0/24,2001:db8:51::/48"}
	checks := []check{
		{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "inbound, excluded", from: peer(), to: to(lab.PodAddr, 15020), want: pods},
		{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
		{name: "outbound, excluded", from: app(), to: to(lab.OtherOutside, 80), want: peers},
		{name: "query", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		{name: "proxy", from: proxy(), to: to(lab.Outside, 80), want: peers},
	}
	runScenarios(t, []scenario{
		{name: "REDIRECT", args: args, checks: checks},
		{name: "TPROXY", args: append(args, "--mode=TPROXY"), transparent: true, checks: checks},
	})
}
