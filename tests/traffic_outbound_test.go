package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

func TestTrafficOutbound(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name: "every address and port",
			checks: []check{
				{name: "port 80", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "other port", from: app(), to: to(lab.Outside, 3306), want: proxyOut},
				{name: "other address", from: app(), to: to(lab.OtherOutside, 80), want: proxyOut},
				{name: "same network", from: app(), to: to(lab.PeerAddr, 80), want: proxyOut},
				{name: "root", from: user(0, 0), to: to(lab.Outside, 80), want: proxyOut},
				{name: "TCP to the name server", from: app(), to: to(lab.Resolver, 53), want: proxyOut},
				{name: "UDP to the name server", from: app(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "UDP", from: app(), to: to(lab.Outside, 80), udp: true, want: peers},
				{name: "proxy", from: proxy(), to: to(lab.Outside, 80), want: peers},
				{name: "proxy's user in another group", from: user(1337, 5000), to: to(lab.Outside, 80), want: peers},
				{name: "other user in the proxy's group", from: user(5000, 1337), to: to(lab.Outside, 80), want: peers},
				{name: "root in the proxy's group", from: user(0, 1337), to: to(lab.Outside, 80), want: peers},
			},
		},
		{
			name: "several proxy users and groups",
			args: []string{"-u", "101,102", "-g", "201,202"},
			checks: []check{
				{name: "first user", from: user(101, 5000), to: to(lab.Outside, 80), want: peers},
				{name: "second user", from: user(102, 5000), to: to(lab.Outside, 80), want: peers},
				{name: "first group", from: user(5000, 201), to: to(lab.Outside, 80), want: peers},
				{name: "second group", from: user(5000, 202), to: to(lab.Outside, 80), want: peers},
				{name: "usual user", from: proxy(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "application", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "excluded ports",
			args: []string{"-o", "3306,8000-8010"},
			checks: []check{
				{name: "excluded", from: app(), to: to(lab.Outside, 3306), want: peers},
				{name: "first of range", from: app(), to: to(lab.Outside, 8000), want: peers},
				{name: "last of range", from: app(), to: to(lab.Outside, 8010), want: peers},
				{name: "above range", from: app(), to: to(lab.Outside, 8011), want: proxyOut},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "listed ports only",
			args: []string{"-i", "", "-q", "31000,32000-32010"},
			checks: []check{
				{name: "listed", from: app(), to: to(lab.Outside, 31000), want: proxyOut},
				{name: "in range", from: app(), to: to(lab.Outside, 32005), want: proxyOut},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: peers},
				{name: "listed, proxy", from: proxy(), to: to(lab.Outside, 31000), want: peers},
			},
		},
		{
			name: "excluded CIDRs",
			args: []string{"-x", "198.51.100.0/24,2001:db8:51::/48"},
			checks: []check{
				{name: "excluded", from: app(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "included CIDRs",
			args: []string{"-i", "203.0.113.0/24,2001:db8:113::/48"},
			checks: []check{
				{name: "included", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "other", from: app(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
			},
		},
		{
			name: "included CIDRs without an excluded one and with a port",
			args: []string{
				"-i", "203.0.113.0/24,198.51.100.0/24,2001:db8::/32",
				"-x", "198.51.100.0/24,2001:db8:51::/48", "-q", "31000", "-o", "3306",
			},
			checks: []check{
				{name: "included", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "excluded", from: app(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "neither", from: app(), to: to(lab.PeerAddr, 80), want: peers},
				{name: "neither, listed port", from: app(), to: to(lab.PeerAddr, 31000), want: proxyOut},
				{name: "excluded, listed port", from: app(), to: to(lab.OtherOutside, 31000), want: peers},
				{name: "included, excluded port", from: app(), to: to(lab.Outside, 3306), want: peers},
			},
		},
		{
			name: "included groups",
			env:  []string{"ISTIO_OUTBOUND_OWNER_GROUPS=101,202"},
			checks: []check{
				{name: "first", from: user(5000, 101), to: to(lab.Outside, 80), want: proxyOut},
				{name: "second", from: user(5000, 202), to: to(lab.Outside, 80), want: proxyOut},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: peers},
				{name: "proxy", from: proxy(), to: to(lab.Outside, 80), want: peers},
			},
		},
		{
			name: "excluded groups",
			env:  []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=888,999"},
			checks: []check{
				{name: "first", from: user(5000, 888), to: to(lab.Outside, 80), want: peers},
				{name: "second", from: user(5000, 999), to: to(lab.Outside, 80), want: peers},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
	})
}
