package tests

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

func TestTrafficOfExcludedInterface(t *testing.T) {
	net1 := func(t *testing.T, p pod) {
		t.Helper()
		if err := p.AddNet1(); err != nil {
			t.Fatal(err)
		}
	}
	excluded := []check{
		{name: "inbound, excluded", from: peer(), to: to(lab.PodNet1Addr, 8080), want: pods},
		{name: "inbound, other", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "outbound, excluded", from: app(), to: to(lab.PeerNet1Addr, 80), want: peers},
		{name: "outbound, other", from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}
	runScenarios(t, []scenario{
		{
			name:   "none",
			extend: net1,
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodNet1Addr, 8080), want: proxyIn},
				{name: "outbound", from: app(), to: to(lab.PeerNet1Addr, 80), want: proxyOut},
			},
		},
		{name: "REDIRECT", args: []string{"-c", "net1"}, extend: net1, checks: excluded},
		{name: "TPROXY", args: []string{"-c", "net1", "-m", "TPROXY"}, extend: net1, transparent: true, checks: excluded},
	})
}

func TestTrafficOfVirtualMachine(t *testing.T) {
	machine := func(t *testing.T, p pod) {
		t.Helper()
		if err := p.AddVM(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	everything := []check{
		{name: "outbound of the machine", from: vm(), to: to(lab.Outside, 80), want: proxyOut},
		{name: "outbound of the machine, other", from: vm(), to: to(lab.OtherOutside, 443), want: proxyOut},
		{name: "UDP of the machine", from: vm(), to: to(lab.Outside, 80), udp: true, want: peers},
		{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "inbound to the machine", from: peer(), to: to(lab.VMAddr, 8080), want: proxyIn},
		{name: "outbound of the pod", from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}
	someCIDRs := []check{
		{name: "outbound, included", from: vm(), to: to(lab.Outside, 80), want: proxyOut},
		{name: "outbound, other", from: vm(), to: to(lab.OtherOutside, 80), want: peers},
		{name: "machine to the pod", from: vm(), to: to(lab.PodAddr, 8080), want: pods},
		{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
	}
	cidrs := "203.0.113.0/24,2001:db8:113::/48"
	runScenarios(t, []scenario{
		{
			name:   "none",
			extend: machine,
			checks: []check{
				{name: "of the machine", from: vm(), to: to(lab.Outside, 80), want: proxyIn},
			},
		},
		{name: "REDIRECT", args: []string{"-k", "virbr0"}, extend: machine, checks: everything},
		{name: "REDIRECT, CIDRs", args: []string{"-k", "virbr0", "-i", cidrs}, extend: machine, checks: someCIDRs},
		{
			// What the machine sends is missing here: the reference takes it twice,
			// in mangle for the inbound port and then in nat for the outbound one.
			name:        "TPROXY",
			args:        []string{"-k", "virbr0", "-m", "TPROXY"},
			extend:      machine,
			transparent: true,
			checks: []check{
				{name: "UDP of the machine", from: vm(), to: to(lab.Outside, 80), udp: true, want: peers},
				{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "inbound to the machine", from: peer(), to: to(lab.VMAddr, 8080), want: proxyIn},
				{name: "outbound of the pod", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
	})
}
