package sidecar_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Neighbours in a list that is too long to be stored are one interval of the rule. The
// options found take it in parts, and make the same rules.
func TestRecogniseNativeNeighbours(t *testing.T) {
	networks := strings.Join(consecutive(30, func(i int) string { return fmt.Sprintf("10.1.%d.0/24", i) }), ",")
	networks6 := strings.Join(consecutive(30, func(i int) string { return fmt.Sprintf("2001:db8:%x::/48", i) }), ",")
	ids := strings.Join(consecutive(64, func(i int) string { return fmt.Sprint(2000 + i) }), ",")
	ports := strings.Join(consecutive(30, func(i int) string { return fmt.Sprint(2000 + i) }), ",")
	const parts = "10.1.1.0/24,10.1.2.0/23,10.1.4.0/22,10.1.8.0/21,10.1.16.0/21,10.1.24.0/22,10.1.28.0/23,10.1.30.0/24"
	const parts6 = "2001:db8:1::/48,2001:db8:2::/47,2001:db8:4::/46,2001:db8:8::/45,2001:db8:10::/45,2001:db8:18::/46,2001:db8:1c::/47,2001:db8:1e::/48"
	for args, want := range map[string]string{
		"--included-cidrs=" + networks:                           "--included-cidrs=" + parts,
		"--included-cidrs=" + networks6:                          "--included-cidrs=" + parts6,
		"--included-cidrs=" + networks + "," + networks6:         "--included-cidrs=" + parts + "," + parts6,
		"--excluded-cidrs=" + networks:                           "--excluded-cidrs=" + parts,
		"--excluded-source-cidrs=" + networks:                    "--excluded-source-cidrs=" + parts,
		"--mode=TPROXY --excluded-source-cidrs=" + networks:      "--mode=TPROXY --excluded-source-cidrs=" + parts,
		"--virtual-interfaces=tap0 --included-cidrs=" + networks: "--virtual-interfaces=tap0 --included-cidrs=" + parts,
		"--excluded-groups=" + ids:                               "",
		"--included-groups=" + ids:                               "",
		"--redirect-dns --included-groups=" + ids:                "",
		"--excluded-uids=" + ids:                                 "--excluded-uids=2001-2064",
		"--proxy-uid=" + ids:                                     "",
		"--proxy-gid=" + ids:                                     "",
		"--proxy-uid=" + ids + " --proxy-gid=" + ids:             "",
		"--mode=TPROXY --redirect-dns --proxy-uid=" + ids:        "",
		"--included-cidrs=127.0.0.0/8 --proxy-uid=" + ids:        "",
		"--proxy-gid=1337 --proxy-uid=3000," + ids:               "",
		"--excluded-ports=" + ports:                              "--excluded-ports=2001-2030",
		"--excluded-ports= --included-ports=" + ports:            "--excluded-ports= --included-ports=2001-2030",
		"--excluded-outbound-ports=" + ports:                     "--excluded-outbound-ports=2001-2030",
		"--included-cidrs= --included-outbound-ports=" + ports:   "--included-cidrs= --included-outbound-ports=2001-2030",
	} {
		t.Run(args[:min(len(args), 60)], func(t *testing.T) {
			if want == "" {
				want = args
			}
			given := func(args string) sidecar.Config {
				return recorded.Parse(t, nil, append(strings.Fields(args), "--ipv6=on")...)
			}
			servers := host.Host{NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}
			found := sidecar.Recognise(policytest.AsStored(form.Native(given(args).Plan(servers).Rules)), form.Native)
			if !found.Complete {
				t.Error("not recognised as complete")
			}
			if diff := cmp.Diff(given(want).Args(), found.Wanted.(sidecar.Config).Args()); diff != "" {
				t.Errorf("options wanted (-), recognised (+):\n%s", diff)
			}
		})
	}
}

// What no option can have made is told, not left out in silence.
func TestRecogniseRefused(t *testing.T) {
	for args, interval := range map[string]iptables.Interval{
		"--proxy-uid=2000,2002":       iptables.IDInterval(1, 1<<31),
		"--excluded-groups=2000,2002": iptables.IDInterval(0, 1<<32-2),
	} {
		native := form.Native(recorded.Parse(t, nil, args).Plan(host.Host{}).Rules)
		option, _, _ := strings.Cut(args, "=")
		edited := native.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
			for i, m := range r.Matches {
				if s, ok := m.(iptables.Set); ok && r.Origin.Option == option {
					r.Matches = slices.Clone(r.Matches)
					r.Matches[i] = iptables.NewSet(s.Field, s.Not, []iptables.Interval{interval})
					r.Origin.Value = ""
				}
			}
			return r
		})
		found := sidecar.Recognise(edited, form.Native)
		if found.Complete || !slices.Equal(found.Refused, []string{option}) {
			t.Errorf("%s: complete %v, refused %q", args, found.Complete, found.Refused)
		}
	}
}

// consecutive returns n items, from the first on.
func consecutive(n int, item func(i int) string) []string {
	var all []string
	for i := range n {
		all = append(all, item(i+1))
	}
	return all
}
