package node

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// A chain that both directions lead to counts where it is led to from; what is marked as TPROXY
// marks it is captured too; a rule for both families counts once.
func TestCountTraffic(t *testing.T) {
	t.Parallel()
	const nat = `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:X_IN - [0:0]
:X_OUT - [0:0]
:X_TO_IN - [0:0]
:X_TO_OUT - [0:0]
[10:0] -A PREROUTING -p tcp -j X_IN
[100:0] -A OUTPUT -j X_OUT
[3:0] -A X_IN -p tcp -m tcp --dport 15020 -j RETURN
[7:0] -A X_IN -p tcp -j X_TO_IN
[5:0] -A X_OUT -o lo -j X_TO_IN
[20:0] -A X_OUT -m owner --uid-owner 1337 -j RETURN
[60:0] -A X_OUT -j X_TO_OUT
[1:0] -A X_OUT -p udp -j REDIRECT --to-ports 15053
[12:0] -A X_TO_IN -p tcp -j REDIRECT --to-ports 15006
[60:0] -A X_TO_OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`
	const mangle = `*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:X_DIVERT - [0:0]
:X_IN - [0:0]
:X_MARK - [0:0]
:X_TPROXY - [0:0]
[1000:0] -A PREROUTING -p tcp -j X_IN
[500:0] -A OUTPUT -j X_MARK
[800:0] -A X_IN -m conntrack --ctstate ESTABLISHED -j X_DIVERT
[50:0] -A X_IN -p tcp -j X_TPROXY
[800:0] -A X_DIVERT -j MARK --set-xmark 0x539/0xffffffff
[800:0] -A X_DIVERT -j ACCEPT
[400:0] -A X_MARK -j MARK --set-xmark 0x53a/0xffffffff
[50:0] -A X_TPROXY -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
COMMIT
`
	for text, want := range map[string]Traffic{
		nat:    {In: Counts{7, 3}, Out: Counts{66, 34}},
		mangle: {In: Counts{850, 150}},
	} {
		tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		rules := iptables.Ruleset{Tables: tables}
		if got := CountTraffic(&rules); got != want {
			t.Errorf("got %v, want %v of\n%s", got, want, text)
		}
		for i := range rules.Tables {
			rules.Tables[i].Family = iptables.IPv6
		}
		shared := rules.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
			r.Shared = true
			return r
		})
		if got := CountTraffic(&shared); got != (Traffic{}) {
			t.Errorf("rules of both families count twice: %v", got)
		}
	}
}
