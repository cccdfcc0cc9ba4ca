package nftables

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// writtenRules are rules of nft, each with what it reads as for IPv4 and, if that differs, IPv6.
var writtenRules = []struct{ rule, v4, v6 string }{
	{"counter", "", ""},
	{"tcp dport 80 accept", "-p tcp -m tcp --dport 80 -j ACCEPT", ""},
	{"ip saddr 10.0.0.0/8 udp sport 53 drop", "-s 10.0.0.0/8 -p udp -m udp --sport 53 -j DROP", "meta nfproto ipv4"},
	{"ip6 daddr { fd00::/8, ::1 } return", "meta nfproto ipv6", "-d {::1/128,fd00::/8} -j RETURN"},
	{"tcp flags & (fin | syn | rst | ack) == syn tcp dport 80 drop", "-p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", ""},
	{"tcp flags syn drop", "-p tcp -m tcp ! --tcp-flags SYN NONE -j DROP", ""},
	{`iifname "eth*" oif lo goto svc`, "-i eth+ -o lo -g svc", ""},
	{"iif 77 drop", "-i 77/none -j DROP", ""},
	{"meta mark set meta mark | 0x4000", "-j MARK --set-xmark 0x4000/0x4000", ""},
	{"ct mark set meta mark", "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff", ""},
	{"ct mark set 5", "-j CONNMARK --set-xmark 0x5/0xffffffff", ""},
	{"ct state vmap { established : accept, invalid : drop }", "ct state vmap { invalid : drop, established : accept }", ""},
	// Several statements are parts of one rule, in their order.
	{"tcp dport 80 counter log prefix \"x\" meta mark set 1 ip saddr 10.0.0.1 accept",
		`-p tcp -m tcp --dport 80 -j LOG --log-prefix "x" -j MARK --set-xmark 0x1/0xffffffff -s 10.0.0.1/32 -j ACCEPT`,
		`-p tcp -m tcp --dport 80 -j LOG --log-prefix "x" -j MARK --set-xmark 0x1/0xffffffff meta nfproto ipv4`},
	{"log group 2 prefix \"a b\"", `-j NFLOG --nflog-prefix "a b" --nflog-group 2`, ""},
	{"reject with icmpx admin-prohibited", "-j REJECT --reject-with icmp-admin-prohibited", "-j REJECT --reject-with icmp6-adm-prohibited"},
	{"meta l4proto tcp reject with tcp reset", "-p tcp -j REJECT --reject-with tcp-reset", ""},
	{"limit rate 10/minute accept", "-m limit --limit 10/min -j ACCEPT", ""},
	{"limit rate over 1 mbytes/second drop", "limit rate over 1048576 bytes/second burst 0 -j DROP", ""},
	{"quota over 1 mbytes drop", "quota over 1048576 bytes -j DROP", ""},
	{"quota name q drop", `quota name "q" -j DROP`, ""},
	{"ct count over 3 drop", "ct count over 3 -j DROP", ""},
	{"update @seen { ip saddr limit rate over 3/second } drop", "update @seen { ip saddr limit rate over 3/second burst 5 } -j DROP", "meta nfproto ipv4"},
	{"add @seen { ip saddr }", "add @seen { ip saddr }", "meta nfproto ipv4"},
	{"socket transparent 1 accept", "socket transparent 1 -j ACCEPT", ""},
	{"osf name \"Linux\" drop", `osf name "Linux" -j DROP`, ""},
	{"ct status dnat accept", "ct status dnat -j ACCEPT", ""},
	{"fib saddr . iif oif missing drop", "fib saddr . iif oif missing -j DROP", ""},
	{"ip dscp set cs1", "a field of the header is changed", "meta nfproto ipv4"},
	{"ip daddr set 10.0.0.1", "ip daddr set 10.0.0.1", "meta nfproto ipv4"},
	{"tcp option maxseg size set 1200", "an option of the header is changed", ""},
	{"@nh,64,8 64 drop", "ip ttl 64 -j DROP", "-s 4000::/8 -j DROP"},
	{"ip frag-off & 0x1fff != 0 drop", "-f -j DROP", "meta nfproto ipv4"},
	{"numgen random mod 2 vmap { 0 : goto svc, 1 : accept }", "numgen random mod 2 vmap { 0 : goto svc, 1 : accept }", ""},
	{"ip daddr . meta l4proto . th dport vmap @services", "ip daddr . meta l4proto . th dport vmap @services", "meta nfproto ipv4"},
	{"meta length > 1000 drop", "meta length 1001-4294967295 -j DROP", ""},
	{"meta l4proto tcp tproxy to :3000 meta mark set 1 accept",
		"-p tcp a socket for tproxy to :3000 -j MARK --set-xmark 0x1/0xffffffff -j TPROXY --on-port 3000 --on-ip 0.0.0.0 --tproxy-mark 0x0/0x0",
		"-p tcp a socket for tproxy to :3000 -j MARK --set-xmark 0x1/0xffffffff -j TPROXY --on-port 3000 --on-ip :: --tproxy-mark 0x0/0x0"},
	{"notrack", "-j CT --notrack", ""},
	{"ct zone set 5", "-j CT --zone 5", ""},
}

// writtenNat are rules of nat.
var writtenNat = []struct{ rule, v4, v6 string }{
	{"meta l4proto tcp dnat ip to 10.1.0.1:80", "-p tcp -j DNAT --to-destination 10.1.0.1:80", "-p tcp"},
	{"meta l4proto tcp dnat ip6 to [fd00::1]:80", "-p tcp", "-p tcp -j DNAT --to-destination [fd00::1]:80"},
	{"tcp dport 80 dnat ip to ip daddr map { 10.0.0.1 : 10.0.0.2, 10.0.0.3 : 10.0.0.4 }",
		"-p tcp -m tcp --dport 80 -d {10.0.0.1/32,10.0.0.3/32} -j DNAT --to-destination 10.0.0.2 or 10.0.0.4", "-p tcp -m tcp --dport 80 meta nfproto ipv4"},
	{"dnat ip to numgen random mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.4 }", "-j DNAT --to-destination 10.0.0.2 or 10.0.0.4", ""},
	{"tcp dport 80 redirect to :8080", "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080", ""},
	{"redirect", "-j REDIRECT", ""},
	{"tcp dport 80 redirect to :8080 random", "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080 --random", ""},
}

const writtenTable = `
table inet t {
	quota q { over 10 mbytes; }
	set seen { type ipv4_addr; flags dynamic; timeout 5s; }
	chain svc { }
	map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.0.0.1 . tcp . 80 : goto svc }; }
	chain f { type filter hook prerouting priority -300; }
	chain nat { type nat hook prerouting priority -100; }
}
`

// Rules of others are told in iptables' words where they say the same, at their place.
func TestOthers(t *testing.T) {
	nstest.Enter(t)
	rules := writtenTable
	for _, r := range writtenRules {
		rules += "add rule inet t f " + r.rule + "\n"
	}
	for _, r := range writtenNat {
		rules += "add rule inet t nat " + r.rule + "\n"
	}
	runNFT(t, rules)
	have := readAll(t)
	for _, f := range iptables.Families() {
		table := tableOf(have, f, "inet t")
		for chain, all := range map[string][]struct{ rule, v4, v6 string }{"f": writtenRules, "nat": writtenNat} {
			for i, r := range all {
				want := r.v4
				if f == iptables.IPv6 && r.v6 != "" {
					want = r.v6
				}
				if r.rule == "dnat ip to numgen random mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.4 }" && f == iptables.IPv6 {
					want = ""
				}
				if got := table.Chain(chain).Rules[i].String(); got != want {
					t.Errorf("%s: %s:\ngot  %s\nwant %s", f, r.rule, got, want)
				}
			}
		}
	}
}

// Base chains are told wherever they are, once for each family of packets. Tables that no
// packet meets are left out, and so are those of traces.
func TestBases(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "iptables-nft", "-t", "mangle", "-A", "OUTPUT", "-j", "ACCEPT")
	runNFT(t, `
		table inet a {
			chain early { type filter hook prerouting priority -300; accept; }
			chain in { type filter hook ingress device "lo" priority 1; }
			chain plain { counter; }
		}
		table ip6 b { chain o { type nat hook output priority -99; counter; }; }
		table ip dormant { flags dormant; chain o { type filter hook output priority -400; counter; }; }
		table ip plain { chain c { counter; }; }
		table ip nat { chain own { type nat hook output priority -150; ip daddr { 10.0.0.1, 10.0.0.2 } counter accept; }; }
		table netdev n { chain out { type filter hook egress device "lo" priority 0; }; }
		table bridge br { chain c { type filter hook prerouting priority 0; }; }
		table arp x { chain c { type filter hook input priority 0; }; }
		table ip `+traceTablePrefix+`1 { chain o { type filter hook output priority 0; }; }
	`)
	native := NewNative(nstest.Here(t), owned)
	take(t, native, native.Form(planOf(t, "sidecar-default")))
	have := readAll(t)
	var got []string
	for _, b := range have.Bases {
		got = append(got, fmt.Sprint(b.Form, " ", b.Family, " ", b.Table, " ", b.Chain, " ", b.Hook, " ", b.Priority, " ", b.Kind, " ", b.Devices))
	}
	want := []string{
		"iptables-nft IPv4 mangle OUTPUT OUTPUT -150 route []",
		"iptables-nft IPv4 nat own OUTPUT -150 nat []",
		"nft IPv4 inet a early PREROUTING -300 filter []",
		"nft IPv6 inet a early PREROUTING -300 filter []",
		"nft IPv4 inet a in INGRESS 1 filter [lo]",
		"nft IPv6 inet a in INGRESS 1 filter [lo]",
		"nft IPv6 ip6 b o OUTPUT -99 nat []",
		"nft IPv4 netdev n out EGRESS 0 filter [lo]",
		"nft IPv6 netdev n out EGRESS 0 filter [lo]",
	}
	sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if d := cmp.Diff(want, got, sorted); d != "" || !have.HasBases {
		t.Errorf("(-want +got):\n%s", d)
	}
	var tables []string
	for _, table := range have.Others {
		tables = append(tables, fmt.Sprint(table.Family, " ", table.Name))
	}
	wantTables := []string{"IPv4 inet a", "IPv6 inet a", "IPv6 ip6 b", "IPv4 netdev n", "IPv6 netdev n"}
	if d := cmp.Diff(wantTables, tables, sorted); d != "" {
		t.Errorf("tables (-want +got):\n%s", d)
	}
	// A rule of nft in a table of iptables is read as those of others.
	own := have.Backend(installed.NFT).Rules
	nat := own.Table(iptables.IPv4, iptables.Nat)
	if rules := nat.Chain("own").Rules; len(rules) != 1 || rules[0].String() != "-d {10.0.0.1-10.0.0.2} -j ACCEPT" {
		t.Errorf("got %v", rules)
	}
}

// Others cost requests only for the sets that their rules look up.
func TestRequests(t *testing.T) {
	for rules, want := range map[string]int{
		"": 1,
		"table inet a { chain o { type filter hook output priority 0; tcp dport 1 counter; }; }":                                                           3,
		"table inet a { set s { type inet_service; }; chain o { type filter hook output priority 0; tcp dport @s counter; }; chain c { tcp dport @s; }; }": 5,
		"table inet a { chain c { tcp dport { 1, 2 } counter; }; }":                                                                                        2,
	} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			nstest.Enter(t)
			runNFT(t, rules)
			requests := 0
			ns := namespace.Own()
			ns.SetDial(func() (netlink.Socket, error) {
				s, err := netlink.Dial(unix.NETLINK_NETFILTER)
				return &faulty{Socket: s, onSend: func([]byte) []byte {
					requests++
					return nil
				}}, err
			})
			if _, err := Read(t.Context(), ns, owned); err != nil {
				t.Fatal(err)
			}
			if requests != want {
				t.Errorf("%q: %d requests, want %d", strings.TrimSpace(rules), requests, want)
			}
		})
	}
}
