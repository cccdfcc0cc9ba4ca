package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/kernels"
	"github.com/meshtables/meshtables/tests/lab"
)

// Connections from one address and port to several ports of the pod all arrive at the one port
// of the proxy. They are told apart there, while all of them are open.
func TestTrafficPortClash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		args  []string
		proxy listeners
	}{
		{"REDIRECT", nil, istioListeners(false)},
		{"TPROXY", []string{"--mode=TPROXY"}, istioListeners(true)},
		{"ambient", []string{"--dataplane-mode=ambient"}, nodeListeners()},
		{"Linkerd", []string{"--mesh=linkerd"}, linkerdListeners()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			forEachBackend(t, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				test.proxy.serve(t, p)
				apply(t, p, test.args...)
				for _, f := range lab.Families() {
					client := lab.Client{Socket: lab.Socket{SharesPort: true}, Source: lab.PeerAddr.Port(f, p.NextPort()), Timeout: 3 * time.Second}
					var all []*lab.Conn
					for _, port := range []uint16{8080, 8081, 9090, 22} {
						all = append(all, dial(t, p.Peer, client, lab.PodAddr.Port(f, port), proxyIn))
					}
					for _, conn := range all {
						exchange(t, conn)
					}
				}
			})
		})
	}
}

// earlyDemux is the setting by which a kernel tells the connections apart.
const earlyDemux = "net.ipv4.tcp_early_demux"

// Where the kernel needs the setting, rules come with it. Where it cannot be made, they come
// without it, and that is said: by apply, by verify and by the audit, of a pod that is as wanted.
func TestPortClashSetting(t *testing.T) {
	t.Parallel()
	k, err := kernels.Current()
	if err != nil {
		t.Fatal(err)
	}
	const without = "inbound connections from one address and port to several ports of the pod time out"
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: injected()}
	if k.NoIPv6 {
		p.only = []string{"10.244.0.1/24"}
	}
	m.start(t, p)
	m.listen(t, p, outboundPort, inboundPort)
	setting := func() string { return strings.TrimSpace(m.sh(t, p.in("sysctl -n "+earlyDemux))) }
	// says fails unless the verbs find rules as wanted, and advise the setting or do not.
	says := func(when string, advise bool) {
		t.Helper()
		audit, messages, status := m.audit(t, "-v")
		verify := m.sh(t, "meshtables verify --network-namespace="+p.file()+" 2>&1")
		if status != 0 || messages != "" || !strings.Contains(audit, "as-wanted") || !strings.Contains(verify, "as wanted") {
			t.Errorf("%s: audit says (%d)\n%s%s\nverify says\n%s", when, status, audit, messages, verify)
		}
		for _, out := range []string{audit, verify} {
			if strings.Contains(out, without) != advise || strings.Contains(out, "sysctl -w "+earlyDemux+"=0\n") != advise {
				t.Errorf("%s: want advice: %t, got\n%s", when, advise, out)
			}
		}
	}

	if k.PortsClash {
		readOnly := p.in("exec unshare --mount sh -ec \"mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys; exec meshtables 2>&1\"")
		want := without + " (Linux " + strings.TrimSuffix(k.Version, ".") + "): failed to set " + earlyDemux + ": read-only file system\n"
		for _, result := range []string{"applied: ", "unchanged: "} {
			if out := m.sh(t, readOnly); strings.Count(out, want) != 1 || !strings.Contains(out, result) {
				t.Errorf("want %q and %q once in\n%s", result, want, out)
			}
		}
		says("not made", true)
	}
	apply := "meshtables --network-namespace=" + p.file()
	m.sh(t, apply)
	if out := m.sh(t, apply); !strings.HasPrefix(out, "unchanged: ") {
		t.Errorf("again: %s", out)
	}
	if got := setting(); got != map[bool]string{false: "1", true: "0"}[k.PortsClash] {
		t.Errorf("the setting is %s", got)
	}
	says("applied", false)
}
