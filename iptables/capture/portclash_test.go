package capture_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
)

// The setting goes with inbound connections that are redirected, on kernels that need it.
func TestPortClash(t *testing.T) {
	older, newer := host.Version{Major: 6, Minor: 1}, host.Version{Major: 6, Minor: 12}
	tests := []struct {
		policy capture.Policy
		args   string
		kernel host.Version
		want   bool
	}{
		{sidecar.Policy{}, "", older, true},
		{sidecar.Policy{}, "", newer, false},
		{sidecar.Policy{}, "", host.Version{}, false},
		{sidecar.Policy{}, "--mode=TPROXY", older, false},
		{sidecar.Policy{}, "--included-ports=", older, false},
		{ambient.Policy{}, "", older, true},
		{ambient.Policy{}, "", newer, false},
		{linkerd.Policy{}, "", older, true},
		{linkerd.Policy{}, "", newer, false},
	}
	for _, test := range tests {
		wanted, err := capture.Parse(test.policy, strings.Fields(test.args))
		if err != nil {
			t.Fatal(err)
		}
		sysctls := wanted.Plan(host.Host{Kernel: test.kernel}).Sysctls
		if (len(sysctls) > 0) != test.want {
			t.Errorf("%s %s, Linux %s: got %v", capture.Title(test.policy), test.args, test.kernel, sysctls)
		}
		for _, s := range sysctls {
			if (s != iptables.Sysctl{
				Name: "net.ipv4.tcp_early_demux", Value: "0",
				Without: "inbound connections from one address and port to several ports of the pod time out (Linux 6.1)",
			}) {
				t.Errorf("got %+v", s)
			}
		}
	}
}
