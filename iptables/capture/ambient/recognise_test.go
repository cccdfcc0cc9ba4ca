package ambient_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What the reference wrote is recognised, down to the option behind each rule.
func TestRecogniseReference(t *testing.T) {
	for _, c := range recorded.AmbientPods(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			found := ambient.Recognise(c.Ruleset(t), form.IPTables)
			if diff := cmp.Diff(cfg.Args(), found.Wanted.(ambient.Config).Args()); diff != "" {
				t.Errorf("options given (-), recognised (+):\n%s", diff)
			}
			if !found.Complete {
				t.Error("not recognised as complete")
			}
			planned := form.IPTables(cfg.Plan(c.Host()).Rules)
			if diff := cmp.Diff(policytest.Describe(planned), policytest.Describe(found.Rules)); diff != "" {
				t.Errorf("planned (-), recognised (+):\n%s", diff)
			}
		})
	}
}

// Rules that this program wrote are recognised, whatever the options and the form: those
// that are found make the same rules.
func TestRecogniseEveryRule(t *testing.T) {
	for seed := range uint64(soak.Times(1000, 4000)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			policytest.RecognisedInEveryForm(t, ambient.Policy{}, plantest.Ambient(seed), host.Host{})
		})
	}
}

// So are rules whose options look alike.
func TestRecogniseTouchingOptions(t *testing.T) {
	ports := func(n int, item string) string {
		words := make([]string, n)
		for i := range words {
			words[i] = fmt.Sprintf(item, i+1)
		}
		return strings.Join(words, ",")
	}
	for _, args := range []string{
		"--redirect-dns --included-outbound-ports=53",
		"--redirect-dns --included-outbound-ports=53 --dns-port=15001",
		"--redirect-dns --excluded-outbound-ports=53",
		"--included-outbound-ports=53 --included-cidrs=",
		"--included-cidrs=127.0.0.1/32,::1 --excluded-cidrs=127.0.0.1/32",
		"--included-cidrs=0.0.0.0/0 --virtual-interfaces=tap0,tap1",
		"--included-cidrs=::/0 --virtual-interfaces=tap0",
		"--excluded-source-cidrs=0.0.0.0/0,::/0 --excluded-cidrs=0.0.0.0/0,::/0",
		"--excluded-interfaces=tap0 --virtual-interfaces=tap0",
		"--included-ports=15000-16000 --tunnel-port=15500",
		"--included-ports=15008",
		"--included-ports= --included-cidrs=",
		"--excluded-ports=15008",
		"--excluded-ports=" + ports(40, "%d"),
		"--included-ports=" + ports(40, "%d"),
		"--included-outbound-ports=" + ports(40, "%d") + " --excluded-outbound-ports=" + ports(40, "2%d"),
		"--excluded-cidrs=" + ports(40, "10.0.0.%d"),
		"--proxy-mark=0x539 --connection-mark=0x111",
		"--host-probe-address=10.0.0.1",
	} {
		t.Run(args[:min(len(args), 60)], func(t *testing.T) {
			for _, ipv6 := range []string{" --ipv6=on", " --ipv6=off"} {
				policytest.RecognisedInEveryForm(t, ambient.Policy{}, recorded.ParseAmbient(t, "", strings.Fields(args+ipv6)...), host.Host{})
			}
		})
	}
}

// Rules that somebody changed say which options of theirs are not valid.
func TestRecogniseRefused(t *testing.T) {
	changed := form.Native(recorded.ParseAmbient(t, "", "--ipv6=off").Plan(host.Host{}).Rules)
	changed.Table(iptables.IPv4, iptables.Nat).Append("ISTIO_PRERT", iptables.Rule{
		Target: iptables.Return, Origin: iptables.Origin{Option: "--excluded-ports", Value: "80x"},
	})
	found := ambient.Recognise(changed, form.Native)
	if !slices.Equal(found.Refused, []string{"--excluded-ports"}) || found.Complete {
		t.Errorf("refused %q, complete %t", found.Refused, found.Complete)
	}
}
