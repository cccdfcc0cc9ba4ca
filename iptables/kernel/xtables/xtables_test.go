package xtables

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

// Every test that writes does so in a network namespace of its own (nstest),
// which takes root, by the installed programs of both variants.

func eachVariant(t *testing.T, test func(t *testing.T, b *Backend)) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			test(t, find(t, v))
		})
	}
}

func find(t *testing.T, v Variant) *Backend {
	t.Helper()
	b, err := Find(t.Context(), nstest.Here(t), owned, v, Options{})
	if err != nil {
		nstest.Missing(t, "the test needs the iptables programs: %v", err)
	}
	return b
}

// parse reads rulesets as iptables-save and ip6tables-save print them.
func parse(t *testing.T, v4, v6 string) iptables.Ruleset {
	t.Helper()
	var rs iptables.Ruleset
	for family, text := range map[iptables.Family]string{iptables.IPv4: v4, iptables.IPv6: v6} {
		tables, err := iptables.ParseSave(family, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		rs.Tables = append(rs.Tables, tables...)
	}
	rs.Sort()
	return rs
}

func load(t *testing.T, b *Backend) iptables.Ruleset {
	t.Helper()
	return found(t, b).Rules
}

// found returns what is there, to be replaced.
func found(t *testing.T, b *Backend) installed.Backend {
	t.Helper()
	have, err := b.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// replace replaces whatever is there, and checks that the outcome is ours as
// wanted and that there is nothing left to do then.
func replace(t *testing.T, b *Backend, want iptables.Ruleset) {
	t.Helper()
	if err := b.Replace(t.Context(), found(t, b), want); err != nil {
		t.Fatal(err)
	}
	have := load(t, b)
	got := owned.Of(have)
	for _, family := range iptables.Families() {
		if got, want := lines(got, family), lines(owned.Of(want), family); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", family, got, want)
		}
	}
	if writes, err := b.writes(&have, &want); len(writes) != 0 || err != nil {
		t.Errorf("there is something left to write: %v, %v", writes, err)
	}
}

// lines is the text of a ruleset without counters.
func lines(rs iptables.Ruleset, family iptables.Family) string {
	for _, t := range rs.Tables {
		for i := range t.Chains {
			t.Chains[i].Counters = iptables.Counters{}
		}
	}
	return rs.Save(family)
}

// restore writes foreign text as iptables-restore does.
func restore(t *testing.T, b *Backend, family iptables.Family, text string) {
	t.Helper()
	_, err := b.execer.run(t.Context(), command{
		path: b.programs[family].restore, args: []string{"--noflush", "-w", "10"}, input: text,
	})
	if err != nil {
		t.Fatal(err)
	}
}

const (
	redirect = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`
	tproxy = `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_DIVERT - [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_TPROXY - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_DIVERT -j MARK --set-xmark 0x539/0xffffffff
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
-A ISTIO_TPROXY -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`
	dns = `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT_DNS - [0:0]
-A OUTPUT -j ISTIO_OUTPUT_DNS
-A ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -j CT --zone 2
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_OUTPUT_DNS - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`
)

// tproxyV6 is tproxy for IPv6.
var tproxyV6 = strings.ReplaceAll(tproxy, "0.0.0.0", "::")
