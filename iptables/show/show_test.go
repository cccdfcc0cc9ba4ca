package show_test

import (
	"bytes"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/show"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

var update = flag.Bool("update", false, "write the golden files anew")

// plan returns the rules for a namespace with both families.
func plan(change func(*sidecar.Config)) iptables.Plan {
	cfg := sidecar.Default()
	cfg.IPv6 = sidecar.IPv6On
	change(&cfg)
	return cfg.Plan(host.Host{NameServers: []netip.Addr{
		netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:10:96::10"),
	}}).Rules
}

// planned returns these rules in the form of iptables.
func planned(change func(*sidecar.Config)) iptables.Ruleset { return form.IPTables(plan(change)) }

// lists asks for lists of several values.
func lists(c *sidecar.Config) {
	c.ExcludedPorts = []iptables.PortRange{iptables.Port(22), iptables.Port(25), {First: 8000, Last: 8010}}
	c.ExcludedCIDRs = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/8"),
	}
	c.ExcludedInterfaces = []string{"net1", "net2"}
}

// native returns rules in the native form, each with counters of its own, and a rule
// that both families have at one place with those of both.
func native(plan iptables.Plan) iptables.Ruleset {
	rs := form.Native(plan)
	n := uint64(0)
	for i := range rs.Tables {
		t := &rs.Tables[i]
		for _, c := range t.Chains {
			for j := range c.Rules {
				n++
				c.Rules[j].Counters = iptables.Counters{Packets: n, Bytes: 60 * n}
				if t.Family == iptables.IPv6 {
					share(rs.Table(iptables.IPv4, t.Name).Chain(c.Name).Rules, &c.Rules[j])
				}
			}
		}
	}
	return rs
}

// share makes one rule of r and its like.
func share(v4 []iptables.Rule, r *iptables.Rule) {
	for i := range v4 {
		if v4[i].Shared && v4[i].Equal(*r) {
			r.Counters = v4[i].Counters
		}
	}
}

// parsed returns rules from what iptables-save -c prints, without origins.
func parsed(t *testing.T, v4, v6 string) iptables.Ruleset {
	t.Helper()
	var rs iptables.Ruleset
	for f, text := range map[iptables.Family]string{iptables.IPv4: v4, iptables.IPv6: v6} {
		tables, err := iptables.ParseSave(f, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		rs.Tables = append(rs.Tables, tables...)
	}
	rs.Sort()
	return rs
}

// foreign has rules of others around ours, counters of every size, and a chain
// of ours that nothing leads to.
const foreign = `*nat
:PREROUTING ACCEPT [7:420]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIOLOGY - [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_LOST - [0:0]
:ISTIO_LOST_TOO - [0:0]
[1:60] -A PREROUTING -i cni0 -p tcp -m comment --comment "say \"hi\"" -j ISTIOLOGY
[99999:100000] -A PREROUTING -p tcp -j ISTIO_INBOUND
[2:120] -A PREROUTING -j DNAT --to-destination 192.0.2.1
[99999500:1234567890123456] -A ISTIO_INBOUND -p tcp -m tcp --dport 80:90 -j RETURN
[0:0] -A ISTIO_INBOUND -j ISTIO_LOST_TOO
[0:0] -A ISTIO_LOST -j ISTIO_LOST_TOO
[0:0] -A ISTIO_LOST_TOO -j DROP
[0:0] -A ISTIOLOGY -j ACCEPT
COMMIT
`

// other has the same for IPv6 as foreign, less the rules of others.
const other = `*nat
:PREROUTING ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_LOST - [0:0]
:ISTIO_LOST_TOO - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -m tcp --dport 80:90 -j RETURN
-A ISTIO_INBOUND -j ISTIO_LOST_TOO
-A ISTIO_LOST -j ISTIO_LOST_TOO
-A ISTIO_LOST_TOO -j DROP
COMMIT
`

func TestGolden(t *testing.T) {
	t.Parallel()
	cases := map[string]iptables.Ruleset{
		"default": planned(func(*sidecar.Config) {}),
		"tproxy": planned(func(c *sidecar.Config) {
			c.Mode, c.RedirectDNS, c.DropInvalid = sidecar.ModeTProxy, true, true
		}),
		// The families differ in more than addresses.
		"cidrs": planned(func(c *sidecar.Config) {
			c.IncludedCIDRs = config.CIDRSelection{CIDRs: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.168.0.0/16"),
			}}
		}),
		"foreign": parsed(t, foreign, other),
		"native":  native(plan(lists)),
		"native-apart": native(plan(func(c *sidecar.Config) {
			lists(c)
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		})),
	}
	forms := map[string]func(io.Writer, []show.Backend){
		"txt": func(w io.Writer, b []show.Backend) { show.Text(w, b, false) },
		"dot": show.Dot,
		"mmd": show.Mermaid,
	}
	for name, rules := range cases {
		for form, draw := range forms {
			t.Run(name+"."+form, func(t *testing.T) {
				t.Parallel()
				var got bytes.Buffer
				draw(&got, []show.Backend{backendOf(name, rules)})
				compare(t, filepath.Join("testdata", name+"."+form), got.Bytes())
			})
		}
	}
}

func backendOf(name string, rules iptables.Ruleset) show.Backend {
	if strings.HasPrefix(name, "native") {
		return show.Backend{Name: "nftables", Form: "listed by nft", Rules: rules, Ownership: owned}
	}
	return show.Backend{Name: "iptables-nft", Form: "listed by iptables", Rules: rules, Ownership: owned}
}

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-), now (+):\n%s", path, diff)
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Colour changes no character, and each is switched off again.
func TestColour(t *testing.T) {
	t.Parallel()
	backends := []show.Backend{
		{Name: "iptables-nft", Rules: planned(func(*sidecar.Config) {}), Ownership: owned},
		{Name: "iptables-legacy", Rules: parsed(t, foreign, other), Ownership: owned},
	}
	var plain, coloured bytes.Buffer
	show.Text(&plain, backends, false)
	show.Text(&coloured, backends, true)
	if escapes.Match(plain.Bytes()) {
		t.Error("there is colour where none is wanted")
	}
	if diff := cmp.Diff(plain.String(), escapes.ReplaceAllString(coloured.String(), "")); diff != "" {
		t.Errorf("without colour (-), with it removed (+):\n%s", diff)
	}
	for line := range strings.SplitSeq(coloured.String(), "\n") {
		if all := escapes.FindAllString(line, -1); len(all) > 0 && all[len(all)-1] != "\x1b[0m" {
			t.Errorf("colour runs over the end of line %q", line)
		}
	}
}

// Every rule that is ours, and every foreign one beside it, is in the answer for
// programs, as it was.
func TestTables(t *testing.T) {
	t.Parallel()
	got := show.Tables(&show.Backend{Rules: parsed(t, foreign, ""), Ownership: owned})
	want := []show.Table{{Family: "IPv4", Table: "nat", Chains: []show.Chain{
		{Chain: "PREROUTING", Policy: "ACCEPT", Rules: []show.Rule{
			{Position: 1, Rule: `-i cni0 -p tcp -m comment --comment "say \"hi\"" -j ISTIOLOGY`,
				Words: `tcp, -m comment --comment "say \"hi\"", in via cni0 → ISTIOLOGY`, Packets: 1, Bytes: 60, Foreign: true},
			{Position: 2, Rule: "-p tcp -j ISTIO_INBOUND", Words: "tcp → ISTIO_INBOUND", Packets: 99999, Bytes: 100000},
			{Position: 3, Rule: "-j DNAT --to-destination 192.0.2.1",
				Words: "everything → -j DNAT --to-destination 192.0.2.1", Packets: 2, Bytes: 120, Foreign: true},
		}},
		{Chain: "ISTIO_INBOUND", Rules: []show.Rule{
			{Position: 1, Rule: "-p tcp -m tcp --dport 80:90 -j RETURN", Words: "tcp to port 80:90 → return",
				Packets: 99999500, Bytes: 1234567890123456},
			{Position: 2, Rule: "-j ISTIO_LOST_TOO", Words: "everything → ISTIO_LOST_TOO"},
		}},
		{Chain: "ISTIO_LOST", Rules: []show.Rule{{Position: 1, Rule: "-j ISTIO_LOST_TOO", Words: "everything → ISTIO_LOST_TOO"}}},
		{Chain: "ISTIO_LOST_TOO", Rules: []show.Rule{{Position: 1, Rule: "-j DROP", Words: "everything → drop"}}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if got := show.Tables(&show.Backend{Ownership: owned}); got == nil || len(got) != 0 {
		t.Errorf("of nothing: %#v, want an empty list", got)
	}
}
