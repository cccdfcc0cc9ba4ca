package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// What a pod sends to itself goes out and comes in via lo.
func TestTrafficToItself(t *testing.T) {
	checks := []check{
		{name: "application by loopback", from: app(), to: to(lab.Loopback, 8080), want: pods},
		{name: "application by the pod's address", from: app(), to: to(lab.PodAddr, 8080), want: pods},
		{name: "proxy by loopback", from: proxy(), to: to(lab.Loopback, 8080), want: pods},
		// The application called itself by a service's address: the proxy
		// comes out with it and has to come in again.
		{name: "proxy by the pod's address", from: proxy(), to: to(lab.PodAddr, 8080), want: proxyIn},
		// As in the reference, only the user is enough for that: the rule that
		// leaves lo to everyone else comes before those of the groups.
		{name: "proxy's user by the pod's address", from: user(1337, 5000), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "proxy's group by the pod's address", from: user(5000, 1337), to: to(lab.PodAddr, 8080), want: pods},
		{name: "proxy to the tunnel", from: proxy(), to: to(lab.PodAddr, 15008), want: pods},
		{name: "proxy from the passthrough address", from: proxy().at(passthrough), to: to(lab.PodAddr, 8080), want: pods},
		{name: "other process by loopback", from: user(0, 0), to: to(lab.Loopback, 8080), want: pods},
		{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}
	runScenarios(t, []scenario{
		{name: "REDIRECT", checks: checks},
		{
			name:   "REDIRECT with DNS capture",
			args:   []string{"--redirect-dns"},
			checks: checks,
		},
		{
			name: "loopback range",
			env:  []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8"},
			checks: []check{
				{name: "proxy by loopback", from: proxy(), to: to(lab.Loopback, 8080), want: pods},
				{name: "proxy by the pod's address", from: proxy(), to: to(lab.PodAddr, 8080), want: proxyIn},
			},
		},
	})
}
