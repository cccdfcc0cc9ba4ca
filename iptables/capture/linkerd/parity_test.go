package linkerd_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// The text is the reference's, to the letter but for its comments.
func TestTextIsTheReferences(t *testing.T) {
	t.Parallel()
	for _, c := range recorded.LinkerdCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := form.IPTables(c.Config(t).Plan(c.Host()).Rules)
			want := c.Ruleset(t)
			for _, f := range iptables.Families() {
				if diff := cmp.Diff(want.Save(f), planned.Save(f)); diff != "" {
					t.Errorf("%s: recorded (-), planned (+):\n%s", f, diff)
				}
			}
		})
	}
}

// Where the reference fails, or has no recorded run, the rules are those of its scheme: 15
// ports a rule, a range counting for two, and clients in their own family.
func TestTextBeyondTheReference(t *testing.T) {
	t.Parallel()
	h := host.Host{Addresses: []netip.Prefix{netip.MustParsePrefix("10.244.1.7/24"), netip.MustParsePrefix("fd00::7/64")}}
	c := recorded.ParseLinkerd(t, "", "--subnets-to-ignore=10.0.0.0/8,fd00:1::/32", "--subnets-to-ignore=2001:db8::1",
		"--inbound-ports-to-ignore=1,2,3,4,5,6,7,8,9,10,11,12,13,20-30,40", "--ports-to-redirect=80", "-r", "9000-9010",
		"--outbound-ports-to-ignore=443", "--proxy-gid=2103", "--comments")
	planned := form.IPTables(c.Plan(h).Rules)
	for f, want := range map[iptables.Family]string{
		iptables.IPv4: `-A PROXY_INIT_REDIRECT -s 10.0.0.0/8 -m comment --comment "--excluded-source-cidrs=10.0.0.0/8" -j RETURN
`,
		iptables.IPv6: `-A PROXY_INIT_REDIRECT -s fd00:1::/32 -m comment --comment "--excluded-source-cidrs=fd00:1::/32" -j RETURN
-A PROXY_INIT_REDIRECT -s 2001:db8::1/128 -m comment --comment "--excluded-source-cidrs=2001:db8::1/128" -j RETURN
`,
	} {
		want = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:PROXY_INIT_OUTPUT - [0:0]
:PROXY_INIT_REDIRECT - [0:0]
-A PREROUTING -m comment --comment "built-in (inbound)" -j PROXY_INIT_REDIRECT
-A OUTPUT -m comment --comment "built-in (outbound)" -j PROXY_INIT_OUTPUT
-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -m comment --comment "--proxy-uid=2102" -j RETURN
-A PROXY_INIT_OUTPUT -m owner --gid-owner 2103 -m comment --comment "--proxy-gid=2103" -j RETURN
-A PROXY_INIT_OUTPUT -o lo -m comment --comment "built-in (loopback)" -j RETURN
-A PROXY_INIT_OUTPUT -p tcp -m multiport --dports 443 -m comment --comment "--excluded-outbound-ports=443" -j RETURN
-A PROXY_INIT_OUTPUT -p tcp -m comment --comment "--outbound-port=4140" -j REDIRECT --to-ports 4140
` + want + `-A PROXY_INIT_REDIRECT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,20:30 -m comment --comment "--excluded-ports=1,2,3,4,5,6,7,8,... (14 values)" -j RETURN
-A PROXY_INIT_REDIRECT -p tcp -m multiport --dports 40 -m comment --comment "--excluded-ports=40" -j RETURN
-A PROXY_INIT_REDIRECT -p tcp -m tcp --dport 80 -m comment --comment "--included-ports=80" -j REDIRECT --to-ports 4143
-A PROXY_INIT_REDIRECT -p tcp -m tcp --dport 9000:9010 -m comment --comment "--included-ports=9000:9010" -j REDIRECT --to-ports 4143
COMMIT
`
		if diff := cmp.Diff(want, planned.Save(f)); diff != "" {
			t.Errorf("%s: want (-), planned (+):\n%s", f, diff)
		}
	}
}

// TestEveryPlan holds what is true of whatever is planned.
func TestEveryPlan(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		planned := plantest.Linkerd(seed).Plan(host.Host{})
		if err := planned.Rules.Validate(); err != nil {
			t.Errorf("%d: %v", seed, err)
		}
		for _, table := range planned.Rules.Tables {
			for _, chain := range table.Chains {
				for _, rule := range chain.Rules {
					if !linkerd.Ownership().OwnsRule(chain.Name, rule.Rule) || rule.Origin.Option == "" {
						t.Errorf("%d: %s %s: not ours, or without an origin: %s", seed, table.Name, chain.Name, rule)
					}
				}
			}
		}
	}
}

// The timeout of conntrack is a setting of the namespace, if it is given.
func TestSysctl(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]iptables.Sysctl{
		"--ipv6=off":                  nil,
		"--timeout-close-wait-secs=0": nil,
		"--timeout-close-wait-secs=3600": {{
			Name: "net.netfilter.nf_conntrack_tcp_timeout_close_wait", Value: "3600", Option: "--timeout-close-wait-secs",
		}},
	} {
		if diff := cmp.Diff(want, recorded.ParseLinkerd(t, "", args).Plan(host.Host{}).Sysctls); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", args, diff)
		}
	}
}
