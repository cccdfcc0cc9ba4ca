package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

func TestTrafficInbound(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name: "every port but the proxy's own",
			checks: []check{
				{name: "8080", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "22", from: peer(), to: to(lab.PodAddr, 22), want: proxyIn},
				{name: "65535", from: peer(), to: to(lab.PodAddr, 65535), want: proxyIn},
				{name: "from far away", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "tunnel", from: peer(), to: to(lab.PodAddr, 15008), want: pods},
				{name: "statistics", from: peer(), to: to(lab.PodAddr, 15020), want: pods},
				{name: "health", from: peer(), to: to(lab.PodAddr, 15021), want: pods},
				{name: "metrics", from: peer(), to: to(lab.PodAddr, 15090), want: pods},
				{name: "UDP", from: peer(), to: to(lab.PodAddr, 8080), udp: true, want: pods},
			},
		},
		{
			name: "excluded ports and a range of them",
			args: []string{"-d", "22,8000-8010"},
			checks: []check{
				{name: "excluded", from: peer(), to: to(lab.PodAddr, 22), want: pods},
				{name: "first of range", from: peer(), to: to(lab.PodAddr, 8000), want: pods},
				{name: "last of range", from: peer(), to: to(lab.PodAddr, 8010), want: pods},
				{name: "below range", from: peer(), to: to(lab.PodAddr, 7999), want: proxyIn},
				{name: "above range", from: peer(), to: to(lab.PodAddr, 8011), want: proxyIn},
				{name: "no longer excluded", from: peer(), to: to(lab.PodAddr, 15020), want: proxyIn},
			},
		},
		{
			name: "listed ports and a range of them",
			args: []string{"-b", "80,8000:8010"},
			checks: []check{
				{name: "listed", from: peer(), to: to(lab.PodAddr, 80), want: proxyIn},
				{name: "first of range", from: peer(), to: to(lab.PodAddr, 8000), want: proxyIn},
				{name: "last of range", from: peer(), to: to(lab.PodAddr, 8010), want: proxyIn},
				{name: "below range", from: peer(), to: to(lab.PodAddr, 7999), want: pods},
				{name: "above range", from: peer(), to: to(lab.PodAddr, 8011), want: pods},
			},
		},
		{
			name: "off",
			args: []string{"-b", ""},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "IPv6 off",
			args: []string{"--ipv6=off"},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn, want6: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut, want6: peers},
			},
		},
	})
}
