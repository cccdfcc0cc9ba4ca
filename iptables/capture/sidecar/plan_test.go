package sidecar_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/tests/recorded"
)

// planArgs plans for a pod with one IPv4 address and the name servers given.
func planArgs(t *testing.T, servers []string, args ...string) capture.Capture {
	t.Helper()
	cfg := recorded.Parse(t, nil, args...)
	h := host.Host{Addresses: []netip.Prefix{netip.MustParsePrefix("10.244.1.7/24")}}
	for _, s := range servers {
		h.NameServers = append(h.NameServers, netip.MustParseAddr(s))
	}
	return cfg.Plan(h)
}

// rules returns the lines of one chain, with the origin of each.
func rules(c capture.Capture, f iptables.Family, table, chain string) []string {
	var lines []string
	planned := form.IPTables(c.Rules)
	if t := planned.Table(f, table); t != nil {
		if c := t.Chain(chain); c != nil {
			for _, r := range c.Rules {
				lines = append(lines, r.String()+" # "+r.Origin.String())
			}
		}
	}
	return lines
}

func TestPortRangesBecomeOneRule(t *testing.T) {
	c := planArgs(t, nil, "--excluded-ports=8000-8010,22", "--excluded-outbound-ports=100:200", "--included-outbound-ports=1-65535")
	for _, test := range []struct {
		chain string
		want  []string
	}{
		{"ISTIO_INBOUND", []string{
			"-p tcp -m tcp --dport 8000:8010 -j RETURN # --excluded-ports=8000:8010",
			"-p tcp -m tcp --dport 22 -j RETURN # --excluded-ports=22",
		}},
		{"ISTIO_OUTPUT", []string{
			"-p tcp -m tcp --dport 100:200 -j RETURN # --excluded-outbound-ports=100:200",
			"-p udp -m udp --dport 100:200 -j RETURN # --excluded-outbound-ports=100:200",
			"-p tcp -m tcp --dport 1:65535 -j ISTIO_REDIRECT # --included-outbound-ports=1:65535",
		}},
	} {
		got := rules(c, iptables.IPv4, iptables.Nat, test.chain)
		for _, want := range test.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s has no %q:\n%s", test.chain, want, strings.Join(got, "\n"))
			}
		}
	}
}

func TestOrigins(t *testing.T) {
	c := planArgs(t, []string{"10.96.0.10"},
		"--proxy-uid=1337", "--proxy-gid=1338", "--redirect-dns", "--excluded-groups=7", "--excluded-cidrs=10.1.0.0/16",
		"--included-cidrs=10.0.0.0/8", "--excluded-interfaces=net1")
	want := []string{
		"-o net1 -j RETURN # --excluded-interfaces=net1",
		"-s 127.0.0.6/32 -o lo -j RETURN # built-in (passthrough source)",
		"! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT # --proxy-uid=1337",
		"-o lo -p tcp -m tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN # --proxy-uid=1337",
		"-m owner --uid-owner 1337 -j RETURN # --proxy-uid=1337",
		"! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1338 -j ISTIO_IN_REDIRECT # --proxy-gid=1338",
		"-o lo -p tcp -m tcp ! --dport 53 -m owner ! --gid-owner 1338 -j RETURN # --proxy-gid=1338",
		"-m owner --gid-owner 1338 -j RETURN # --proxy-gid=1338",
		"-m owner --gid-owner 7 -j RETURN # --excluded-groups=7",
		"-j ISTIO_OUTPUT_DNS # --redirect-dns",
		"-d 127.0.0.1/32 -j RETURN # --loopback-cidr=127.0.0.1/32",
		"-d 10.1.0.0/16 -j RETURN # --excluded-cidrs=10.1.0.0/16",
		"-d 10.0.0.0/8 -j ISTIO_REDIRECT # --included-cidrs=10.0.0.0/8",
	}
	got := rules(c, iptables.IPv4, iptables.Nat, "ISTIO_OUTPUT")
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestIPv6IsCapturedWhereItCouldBeUsed(t *testing.T) {
	for name, test := range map[string]struct {
		mode      sidecar.IPv6
		addresses []string
		want      bool
	}{
		"no address":           {sidecar.IPv6Auto, nil, false},
		"IPv4 only":            {sidecar.IPv6Auto, []string{"10.1.2.3/24"}, false},
		"loopback":             {sidecar.IPv6Auto, []string{"::1/128"}, false},
		"link-local":           {sidecar.IPv6Auto, []string{"fe80::1/64"}, false},
		"passthrough":          {sidecar.IPv6Auto, []string{"::6/128"}, false},
		"unique local":         {sidecar.IPv6Auto, []string{"fd00::7/64"}, true},
		"global beside others": {sidecar.IPv6Auto, []string{"10.1.2.3/24", "fe80::1/64", "2001:db8::7/64"}, true},
		"off":                  {sidecar.IPv6Off, []string{"2001:db8::7/64"}, false},
		"on":                   {sidecar.IPv6On, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sidecar.Default()
			cfg.IPv6 = test.mode
			var h host.Host
			for _, a := range test.addresses {
				h.Addresses = append(h.Addresses, netip.MustParsePrefix(a))
			}
			c := cfg.Plan(h)
			got := slices.Contains(c.Rules.Families, iptables.IPv6)
			if got != test.want || len(c.Routing.Addresses) > 0 != test.want {
				t.Errorf("captured %v, want %v; on lo: %v", got, test.want, c.Routing.Addresses)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		servers []string
		args    []string
		want    []string
	}{
		"DNS without servers": {nil, []string{"--redirect-dns"},
			[]string{"--redirect-dns has no effect: resolv.conf names no server"}},
		"DNS without servers, all": {nil, []string{"--redirect-dns", "--capture-all-dns"}, nil},
		"DNS with a server":        {[]string{"10.96.0.10"}, []string{"--redirect-dns"}, nil},
		"IPv6 CIDRs": {nil, []string{"--included-cidrs=2001:db8::/32,10.0.0.0/8", "--excluded-cidrs=2001:db8:1::/48", "--excluded-source-cidrs=2001:db8:2::/48"},
			[]string{"2001:db8::/32 has no effect", "2001:db8:1::/48 has no effect", "2001:db8:2::/48 has no effect"}},
		"IPv6 CIDRs, on": {nil, []string{"--included-cidrs=2001:db8::/32", "--ipv6=on"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := planArgs(t, test.servers, test.args...).Warnings
			ok := len(got) == len(test.want)
			for i := 0; ok && i < len(got); i++ {
				ok = strings.Contains(got[i], test.want[i])
			}
			if !ok {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDNSIsLeftAloneWithoutServers(t *testing.T) {
	c := planArgs(t, nil, "--redirect-dns")
	if written := form.IPTables(c.Rules); written.Table(iptables.IPv4, iptables.Raw) != nil {
		t.Error("there is a raw table")
	}
	for _, line := range rules(c, iptables.IPv4, iptables.Nat, "ISTIO_OUTPUT") {
		if strings.Contains(line, "53") {
			t.Errorf("there is a rule about DNS: %s", line)
		}
	}
}

func TestRoutingIsNeededByTProxyOnly(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"REDIRECT":                  {nil, 0},
		"TPROXY":                    {[]string{"--mode=TPROXY"}, 1},
		"TPROXY of both families":   {[]string{"--mode=TPROXY", "--ipv6=on"}, 2},
		"TPROXY that takes nothing": {[]string{"--mode=TPROXY", "--included-ports="}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := planArgs(t, nil, append(test.args, "--tproxy-mark=7", "--tproxy-table=8")...).Routing
			if len(r.Families) != test.want || test.want > 0 && (r.Mark != 7 || r.Table != 8 || r.TableOption == "" || r.Without == "") {
				t.Errorf("got %+v, want %d families", r, test.want)
			}
		})
	}
}
