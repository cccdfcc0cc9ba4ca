package linkerd_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What the reference wrote is recognised, down to the option behind each rule.
func TestRecogniseReference(t *testing.T) {
	for _, c := range recorded.LinkerdCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			found := linkerd.Recognise(c.Commented(t), form.IPTables)
			if diff := cmp.Diff(cfg.Args(), found.Wanted.(linkerd.Config).Args()); diff != "" {
				t.Errorf("options given (-), recognised (+):\n%s", diff)
			}
			if !found.Complete || found.Commented {
				t.Errorf("complete %t, with our comments %t", found.Complete, found.Commented)
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
			policytest.RecognisedInEveryForm(t, linkerd.Policy{}, plantest.Linkerd(seed), host.Host{})
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
		"--included-ports=",
		"--included-ports=80 --excluded-ports=80",
		"--included-ports=" + ports(40, "%d") + " --excluded-ports=" + ports(40, "2%d"),
		"--excluded-outbound-ports=" + ports(40, "%d"),
		"--excluded-source-cidrs=0.0.0.0/0,::/0",
		"--excluded-source-cidrs=0.0.0.0/0,10.0.0.0/8",
		"--excluded-source-cidrs=" + ports(40, "10.0.0.%d"),
		"--excluded-cidrs=0.0.0.0/0,::/0",
		"--excluded-cidrs=10.0.0.0/8,fd00::/8 --excluded-source-cidrs=10.0.0.0/8,fd00::/8",
		"--excluded-cidrs=" + ports(40, "10.0.0.%d") + " --excluded-outbound-ports=" + ports(40, "%d"),
		"--proxy-uid=1,2,3 --proxy-gid=1,2,3",
		"--proxy-uid=" + ports(40, "2%d") + " --proxy-gid=" + ports(40, "3%d"),
		"-p 1 -o 2",
		"--excluded-ports=1-65535",
	} {
		t.Run(args[:min(len(args), 60)], func(t *testing.T) {
			for _, ipv6 := range []string{" --ipv6=on", " --ipv6=off"} {
				policytest.RecognisedInEveryForm(t, linkerd.Policy{}, recorded.ParseLinkerd(t, "", strings.Fields(args+ipv6)...), host.Host{})
			}
		})
	}
}

// Rules that somebody changed say which options of theirs are not valid.
func TestRecogniseRefused(t *testing.T) {
	changed := form.Native(recorded.ParseLinkerd(t, "", "--ipv6=off").Plan(host.Host{}).Rules)
	changed.Table(iptables.IPv4, iptables.Nat).Append("PROXY_INIT_REDIRECT", iptables.Rule{
		Target: iptables.Return, Origin: iptables.Origin{Option: "--excluded-ports", Value: "80x"},
	})
	found := linkerd.Recognise(changed, form.Native)
	if !slices.Equal(found.Refused, []string{"--excluded-ports"}) || found.Complete {
		t.Errorf("refused %q, complete %t", found.Refused, found.Complete)
	}
}
