package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// linkerdProxy is Linkerd's proxy. Its user alone tells it.
func linkerdProxy() speaker { return user(2102, 2102) }

// linkerdListeners are those of Linkerd's proxy by default.
func linkerdListeners() listeners {
	by := lab.Socket{As: linkerdProxy().as}
	return listeners{outbound: 4140, inbound: 4143, by: by, inboundBy: by}
}

func TestTrafficLinkerd(t *testing.T) {
	scenarios := []scenario{
		{
			name: "default",
			args: []string{"--mesh=linkerd"},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "inbound, from far away", from: peer().at(lab.Outside), to: to(lab.PodAddr, 22), want: proxyIn},
				{name: "inbound, port of Istio's proxy", from: peer(), to: to(lab.PodAddr, 15021), want: proxyIn},
				{name: "inbound, UDP", from: peer(), to: to(lab.PodAddr, 8080), udp: true, want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, root", from: user(0, 0), to: to(lab.OtherOutside, 3306), want: proxyOut},
				{name: "outbound, user of Istio's proxy", from: proxy(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, proxy", from: linkerdProxy(), to: to(lab.Outside, 80), want: peers},
				{name: "outbound, proxy's user in another group", from: user(2102, 5000), to: to(lab.Outside, 80), want: peers},
				{name: "outbound, another user in the proxy's group", from: user(5000, 2102), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, UDP", from: app(), to: to(lab.Outside, 80), udp: true, want: peers},
				{name: "DNS by UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "DNS by TCP", from: app(), to: to(lab.Resolver, 53), want: proxyOut},
			},
		},
		{
			name: "to itself",
			args: []string{"--mesh=linkerd", "--inbound-ports-to-ignore=4190,4191"},
			checks: []check{
				{name: "application by loopback", from: app(), to: to(lab.Loopback, 8080), want: pods},
				{name: "application by the pod's address", from: app(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "proxy by loopback", from: linkerdProxy(), to: to(lab.Loopback, 8080), want: pods},
				{name: "proxy by the pod's address", from: linkerdProxy(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 8080), want: proxyOut},
			},
		},
		{
			name: "several users, and a group",
			args: []string{"--incoming-proxy-port=4143", "--proxy-uid=2102,2200", "--proxy-gid=2103"},
			checks: []check{
				{name: "first user", from: linkerdProxy(), to: to(lab.Outside, 80), want: peers},
				{name: "second user", from: user(2200, 5000), to: to(lab.Outside, 80), want: peers},
				{name: "group", from: user(5000, 2103), to: to(lab.Outside, 80), want: peers},
				{name: "user of the group's number", from: user(2103, 5000), to: to(lab.Outside, 80), want: proxyOut},
				{name: "application", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "ignored ports",
			args: []string{"--inbound-ports-to-ignore", "22,8000-8010", "--outbound-ports-to-ignore", "3306,9000-9010", "--outbound-ports-to-ignore", "25"},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 22), want: pods},
				{name: "inbound, first of range", from: peer(), to: to(lab.PodAddr, 8000), want: pods},
				{name: "inbound, last of range", from: peer(), to: to(lab.PodAddr, 8010), want: pods},
				{name: "inbound, below range", from: peer(), to: to(lab.PodAddr, 7999), want: proxyIn},
				{name: "inbound, above range", from: peer(), to: to(lab.PodAddr, 8011), want: proxyIn},
				{name: "inbound, ignored outbound", from: peer(), to: to(lab.PodAddr, 3306), want: proxyIn},
				{name: "outbound", from: app(), to: to(lab.Outside, 3306), want: peers},
				{name: "outbound, given apart", from: app(), to: to(lab.Outside, 25), want: peers},
				{name: "outbound, first of range", from: app(), to: to(lab.Outside, 9000), want: peers},
				{name: "outbound, last of range", from: app(), to: to(lab.Outside, 9010), want: peers},
				{name: "outbound, above range", from: app(), to: to(lab.Outside, 9011), want: proxyOut},
				{name: "outbound, ignored inbound", from: app(), to: to(lab.Outside, 22), want: proxyOut},
			},
		},
		{
			// A rule of iptables takes 15 ports, and a range is two.
			name: "many ignored ports",
			args: []string{"--mesh=linkerd", "--inbound-ports-to-ignore=1001,1003,1005,1007,1009,1011,1013,1015,1017,1019,1021,1023,1025,1027-1029,1033,1035"},
			checks: []check{
				{name: "first", from: peer(), to: to(lab.PodAddr, 1001), want: pods},
				{name: "last of the first rule", from: peer(), to: to(lab.PodAddr, 1029), want: pods},
				{name: "first of the second rule", from: peer(), to: to(lab.PodAddr, 1033), want: pods},
				{name: "last", from: peer(), to: to(lab.PodAddr, 1035), want: pods},
				{name: "between them", from: peer(), to: to(lab.PodAddr, 1031), want: proxyIn},
				{name: "after them", from: peer(), to: to(lab.PodAddr, 1036), want: proxyIn},
			},
		},
		{
			name: "listed ports",
			args: []string{"--mesh=linkerd", "-r", "80", "-r", "9000-9010", "--inbound-ports-to-ignore=9005"},
			checks: []check{
				{name: "first", from: peer(), to: to(lab.PodAddr, 80), want: proxyIn},
				{name: "first of range", from: peer(), to: to(lab.PodAddr, 9000), want: proxyIn},
				{name: "last of range", from: peer(), to: to(lab.PodAddr, 9010), want: proxyIn},
				{name: "listed and ignored", from: peer(), to: to(lab.PodAddr, 9005), want: pods},
				{name: "other", from: peer(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 8080), want: proxyOut},
			},
		},
		{
			name: "ignored subnets",
			args: []string{"--subnets-to-ignore", both(lab.OtherOutside)},
			checks: []check{
				{name: "ignored", from: peer().at(lab.OtherOutside), to: to(lab.PodAddr, 8080), want: pods},
				{name: "other", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "neighbour", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "outbound to the same", from: app(), to: to(lab.OtherOutside, 80), want: proxyOut},
			},
		},
		{
			name: "ignored destinations",
			args: []string{"--outbound-subnets-to-ignore", both(lab.OtherOutside), "--inbound-subnets-to-ignore", both(lab.Outside)},
			checks: []check{
				{name: "ignored", from: app(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "other", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "inbound from the ignored destination", from: peer().at(lab.OtherOutside), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "inbound, ignored client", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: pods},
			},
		},
		{
			name: "IPv6 off",
			args: []string{"--mesh=linkerd", "--ipv6=false"},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn, want6: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut, want6: peers},
			},
		},
		{
			name:  "other ports",
			args:  []string{"--mesh=linkerd", "-p", "5143", "-o", "5140"},
			proxy: listeners{outbound: 5140, inbound: 5143, by: linkerdListeners().by, inboundBy: linkerdListeners().inboundBy},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
	}
	for i := range scenarios {
		if scenarios[i].proxy == (listeners{}) {
			scenarios[i].proxy = linkerdListeners()
		}
	}
	runScenarios(t, scenarios)
}
