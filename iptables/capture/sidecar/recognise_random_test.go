package sidecar_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// Rules that this program wrote are recognised, whatever the options: those that are
// found make the same rules. Their arguments say the same.
func TestRecogniseEveryRule(t *testing.T) {
	for seed := range uint64(soak.Times(800, 4000)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cfg, h := plantest.Options(seed)
			policytest.RecognisedInEveryForm(t, sidecar.Policy{}, cfg, h)
			again, err := capture.Parse(sidecar.Policy{}, cfg.Arguments())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(cfg.Args(), again.(sidecar.Config).Args()); diff != "" {
				t.Errorf("%q are other options:\n%s", cfg.Arguments(), diff)
			}
		})
	}
}

func TestRecogniseTouchingOptions(t *testing.T) {
	servers := host.Host{NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}
	ports := func(n int, item string) string {
		return strings.Join(consecutive(n, func(i int) string { return fmt.Sprintf(item, i) }), ",")
	}
	for _, args := range []string{
		"--excluded-uids=udp:53:1000,tcp:81:1000,53:1001,udp:1002",
		"--excluded-uids=53:1000,80:1001,53:1001,443:1001",
		"--excluded-uids=" + ports(12, "tcp:%d:1000") + ",tcp:1:12:1001",
		"--excluded-uids=" + ports(12, "tcp:53:%d") + ",tcp:80:1-12",
		"--excluded-uids=" + ports(40, "%d:1000") + "," + ports(40, "%d:1001"),
		"--excluded-uids=" + ports(40, "53:%d") + "," + ports(40, "udp:%d"),
		"--redirect-dns --excluded-uids=" + ports(40, "%d"),
		"--redirect-dns --excluded-uids=" + ports(40, "53:%d") + ",5000",
		"--excluded-ports=" + ports(40, "%d"),
		"--mode=TPROXY --included-ports=" + ports(40, "%d") + "," + ports(20, "%d"),
		"--tunnel-port=53",
		"--tunnel-port=53 --redirect-dns",
		"--tunnel-port=54 --redirect-dns",
		"--tunnel-port=53 --redirect-dns --mode=TPROXY",
		"--proxy-uid=7,5,6 --proxy-gid=3,1,2",
		"--proxy-uid=" + ports(10000, "%d") + " --excluded-groups=" + ports(10000, "%d"),
	} {
		t.Run(args[:min(len(args), 60)], func(t *testing.T) {
			policytest.RecognisedInEveryForm(t, sidecar.Policy{}, recorded.Parse(t, nil, strings.Fields(args)...), servers)
		})
	}
}
