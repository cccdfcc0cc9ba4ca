package sidecar_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// What config warns of changes the fate of no packet, or of no other than it says; what
// it does not warn of changes that of some.
func TestIneffectiveOptions(t *testing.T) {
	ofProxy := func(p iptables.Packet) bool { return p.Owner != nil && (p.Owner.UID == 1337 || p.Owner.GID == 1337) }
	for name, test := range map[string]struct {
		args, option string
		except       func(iptables.Packet) bool
		matters      bool
	}{
		"users, nothing outbound":           {args: "--included-cidrs=", option: "--excluded-uids=1000,udp:53:5-7"},
		"excluded groups, nothing outbound": {args: "--included-cidrs=", option: "--excluded-groups=1000"},
		"included groups, nothing outbound": {args: "--included-cidrs=", option: "--included-groups=1000"},
		"ports, nothing outbound":           {args: "--included-cidrs=", option: "--excluded-outbound-ports=80", except: ofProxy},
		"other ports, DNS only":             {args: "--included-cidrs= --redirect-dns --capture-all-dns", option: "--excluded-outbound-ports=80", except: ofProxy},
		"the proxy's user":                  {args: "--redirect-dns", option: "--excluded-uids=1337,udp:53:1337"},
		"the proxy's group":                 {args: "--redirect-dns", option: "--excluded-groups=1337"},

		"users, DNS only":           {args: "--included-cidrs= --redirect-dns --capture-all-dns", option: "--excluded-uids=1000", matters: true},
		"excluded groups, DNS only": {args: "--included-cidrs= --redirect-dns --capture-all-dns", option: "--excluded-groups=1000", matters: true},
		"included groups, DNS only": {args: "--included-cidrs= --redirect-dns --capture-all-dns", option: "--included-groups=1000", matters: true},
		"ports, DNS only":           {args: "--included-cidrs= --redirect-dns --capture-all-dns", option: "--excluded-outbound-ports=53", except: ofProxy, matters: true},
		"users, one port only":      {args: "--included-cidrs= --included-outbound-ports=80", option: "--excluded-uids=1000", matters: true},
		"a user beside the proxy's": {args: "", option: "--excluded-uids=1337-1338", matters: true},
	} {
		for _, mode := range []string{"REDIRECT", "TPROXY"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				plan := func(more ...string) iptables.Ruleset {
					args := slices.Concat(strings.Fields(test.args), []string{"--ipv6=off", "--mode=" + mode}, more)
					h := host.Host{NameServers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}
					return form.IPTables(recorded.Parse(t, nil, args...).Plan(h).Rules)
				}
				without, with := plan(), plan(test.option)
				if without.Equal(&with) {
					t.Fatal("it makes no rule")
				}
				values := packettest.ValuesOf(iptables.IPv4, &without, &with)
				random := rand.New(rand.NewPCG(20261120, 7))
				different := ""
				for range 6000 {
					p := values.Packet(random)
					want, got := fate(t, &without, p), fate(t, &with, p)
					if want != got && (test.except == nil || !test.except(p)) {
						different = fmt.Sprintf("%+v (owner %+v)\nwithout: %s\nwith: %s", p, p.Owner, want, got)
					}
				}
				if (different != "") != test.matters {
					t.Errorf("matters: %v, want %v\n%s", different != "", test.matters, different)
				}
			})
		}
	}
}

func fate(t *testing.T, rs *iptables.Ruleset, p iptables.Packet) string {
	t.Helper()
	return packettest.Fate(explain.Walk(rs, p))
}
