package xtables

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
)

// No moment between two transactions may leave a way around the proxy, so the
// order of tables depends on what changes.
func TestOrderOfTables(t *testing.T) {
	t.Parallel()
	both := dns[:strings.Index(dns, "*nat")] + tproxy[:strings.Index(tproxy, "*nat")] + dns[strings.Index(dns, "*nat"):]
	tproxyDNS := strings.ReplaceAll(strings.ReplaceAll(both, "-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A OUTPUT", "-A OUTPUT"),
		":ISTIO_IN_REDIRECT - [0:0]\n", "")
	tproxyDNS = strings.ReplaceAll(tproxyDNS, "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT\n-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006\n", "")
	for _, test := range []struct {
		name, have, want, order string
	}{
		{"first install", "", both, "raw mangle nat"},
		{"removal", both, "", "nat mangle raw"},
		{"REDIRECT to TPROXY", redirect, tproxy, "mangle nat"},
		{"TPROXY to REDIRECT", tproxy, redirect, "nat mangle"},
		{"DNS comes", redirect, dns, "raw nat"},
		{"DNS goes", dns, redirect, "nat raw"},
		{"TPROXY comes and DNS goes", dns, tproxy, "mangle nat raw"},
		{"TPROXY goes and DNS comes", tproxy, dns, "raw nat mangle"},
		{"TPROXY goes and DNS stays", tproxyDNS, dns, "nat mangle"},
		{"both go but REDIRECT comes", tproxyDNS, redirect, "nat mangle raw"},
		{"both come", redirect, tproxyDNS, "raw mangle nat"},
		{"a port changes", redirect, strings.ReplaceAll(redirect, "15006", "15007"), "nat"},
		{"nothing changes", both, both, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			have, want := parse(t, test.have, ""), parse(t, test.want, "")
			var order []string
			for _, e := range edits(owned, &have, &want, iptables.IPv4) {
				order = append(order, e.table)
			}
			if got := strings.Join(order, " "); got != test.order {
				t.Errorf("got %q, want %q", got, test.order)
			}
		})
	}
}

// The text for the restore program names only what changes, and never a rule
// that is not ours.
func TestEdit(t *testing.T) {
	t.Parallel()
	have := parse(t, `*nat
:OUTPUT DROP [7:7]
:POSTROUTING ACCEPT [0:0]
:FOREIGN - [0:0]
:ISTIO_A - [0:0]
:ISTIO_B - [0:0]
:ISTIO_OLD - [0:0]
-A OUTPUT -j FOREIGN
-A OUTPUT -j ISTIO_A
-A OUTPUT -m comment --comment "a \"word\" or two" -j ISTIO_A
-A OUTPUT -p udp -j ACCEPT
-A POSTROUTING -j ISTIO_B
-A FOREIGN -g ISTIO_OLD
-A ISTIO_A -j ACCEPT
-A ISTIO_B -j ACCEPT
COMMIT
`, "")
	want := parse(t, `*nat
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_A - [0:0]
:ISTIO_B - [0:0]
-A OUTPUT -j ISTIO_A
-A POSTROUTING -j ISTIO_B
-A ISTIO_A -j RETURN
-A ISTIO_B -j ACCEPT
COMMIT
`, "")
	const text = `*nat
:ISTIO_A - [0:0]
:ISTIO_OLD - [0:0]
-D OUTPUT -j ISTIO_A
-D OUTPUT -m comment --comment "a \"word\" or two" -j ISTIO_A
-D FOREIGN -g ISTIO_OLD
-A ISTIO_A -j RETURN
-A OUTPUT -j ISTIO_A
-X ISTIO_OLD
COMMIT`
	edits := edits(owned, &have, &want, iptables.IPv4)
	if len(edits) != 1 {
		t.Fatalf("got %d tables, want 1", len(edits))
	}
	if got := strings.Join(edits[0].lines, "\n"); got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

// The restore programs take 255 words a line, which is less than as many conditions on
// groups have as a list may have groups.
func TestRestoreText(t *testing.T) {
	t.Parallel()
	groups := func(n int) iptables.Rule {
		r := iptables.Rule{Target: iptables.Return, Matches: []iptables.Match{iptables.Owner{UID: iptables.ID(7), GID: iptables.NotID(8)}}}
		for range n {
			r.Matches = append(r.Matches, iptables.Owner{GID: iptables.NotID(5)})
		}
		r.Matches = append(r.Matches, iptables.Comment{Text: "-m owner ! --gid-owner 5"})
		return r
	}
	if r := groups(44); restoreText(r) != r.String() {
		t.Errorf("a rule that is short enough is written as %s", restoreText(r))
	}
	want := "-mowner --uid-owner=7 ! --gid-owner=8" + strings.Repeat(" -mowner ! --gid-owner=5", sidecar.MaxIncludedGroups) +
		` -m comment --comment "-m owner ! --gid-owner 5" -j RETURN`
	if got := restoreText(groups(sidecar.MaxIncludedGroups)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
