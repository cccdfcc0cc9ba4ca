package sidecar

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables/config"
)

type warningTest struct {
	args []string
	env  []string
	file string
	want []string
}

func warningTests() map[string]warningTest {
	const (
		noDNS    = " has no effect without --redirect-dns"
		redirect = " has no effect: the mode is REDIRECT"
		twice    = ", which has no effect"
		service  = " is ignored: it is the address of a Kubernetes service"
	)
	return map[string]warningTest{
		"nothing": {},
		"all is well": {args: []string{"-m", "TPROXY", "-t", "7", "-r", "8", "--redirect-dns", "--capture-all-dns", "--dns-port=9",
			"-d", "80", "--excluded-groups=5", "-q", "1", "-i", "10.0.0.0/8,::/0", "-x", "10.1.0.0/16", "-o", "2"}},
		"explicit, but nothing": {args: []string{"-b", "80", "-d", "", "--included-groups=*", "--excluded-groups=", "--excluded-uids=",
			"-i", "", "-x", "", "-q", "", "-o", "", "--capture-all-dns=false"}},

		"excluded ports beside a list": {args: []string{"-b", "80", "-d", "22"},
			want: []string{`--excluded-ports "22" has no effect with --included-ports "80"`}},
		"excluded ports beside nothing": {args: []string{"-b", ""}, env: []string{"ISTIO_LOCAL_EXCLUDE_PORTS=22"},
			want: []string{`environment variable ISTIO_LOCAL_EXCLUDE_PORTS "22" has no effect with --included-ports ""`}},
		"excluded ports by annotation": {
			file: trafficPrefix + "includeInboundPorts=\"80\"\n" + trafficPrefix + `excludeInboundPorts="22"`,
			want: []string{`annotation traffic.sidecar.istio.io/excludeInboundPorts "22" has no effect with annotation traffic.sidecar.istio.io/includeInboundPorts "80"`}},
		"default excluded ports": {args: []string{"-b", "80"}},
		"status port":            {args: []string{"-b", "80"}, file: `status.sidecar.istio.io/port="9"`},
		"excluded groups beside a list": {args: []string{"--included-groups=5", "--excluded-groups=6"},
			want: []string{`--excluded-groups "6" has no effect with --included-groups "5"`}},
		"excluded CIDRs beside nothing": {args: []string{"-i", "", "-x", "10.0.0.0/8"},
			want: []string{`--excluded-cidrs "10.0.0.0/8" has no effect: nothing outbound is captured`}},
		"excluded CIDRs beside ports": {args: []string{"-i", "", "-x", "10.0.0.0/8", "-q", "80"}},
		"owners and ports beside nothing": {args: []string{"-i", "", "--excluded-uids=1000,1337", "--excluded-groups=5", "-o", "80"},
			want: []string{
				`--excluded-outbound-ports "80" exempts only connections of the proxy: nothing else outbound is captured`,
				`--excluded-groups "5" has no effect: nothing outbound is captured`,
				`--excluded-uids "1000,1337" has no effect: nothing outbound is captured`}},
		"groups beside nothing": {args: []string{"-i", "", "--included-groups=5"},
			want: []string{`--included-groups "5" has no effect: nothing outbound is captured`}},
		"owners and ports beside ports": {args: []string{"-i", "", "-q", "80", "--excluded-uids=1000", "--excluded-groups=5", "-o", "90"}},
		"owners and ports beside DNS":   {args: []string{"-i", "", "--redirect-dns", "--excluded-uids=1000", "--included-groups=5", "-o", "50-60"}},
		"other ports beside DNS": {args: []string{"-i", "", "--redirect-dns", "-o", "80"},
			want: []string{`--excluded-outbound-ports "80" exempts only connections of the proxy: nothing else outbound is captured`}},
		"the proxy's own": {args: []string{"-u", "1337,1338", "-g", "5", "--excluded-uids=1000,1337,udp:53:1337-1338,1337-1339,1336-1337", "--excluded-groups=5,6"},
			want: []string{
				`--excluded-groups "5,6" has 5, which has no effect: the proxy's own traffic is left alone anyway`,
				`--excluded-uids "1000,1337,udp:53:1337-1338,1337-1339,1336-1337" has 1337,udp:53:1337-1338, which has no effect: the proxy's own traffic is left alone anyway`}},

		"included outbound ports beside all": {args: []string{"--istio-outbound-ports=443"},
			want: []string{`--istio-outbound-ports "443" has no effect: all outbound ports are captured, because --included-cidrs is *`}},
		"outbound ports in both lists": {args: []string{"-i", "", "-q", "80,90-99,443", "-o", "95-500,80"},
			want: []string{`--included-outbound-ports "80,90-99,443" and --excluded-outbound-ports "95-500,80" both have 80,95:99,443: excluded ports are not captured`}},

		"IPv6 CIDRs without IPv6": {args: []string{"--ipv6=off", "-i", "10.0.0.0/8,2001:db8::/32", "-x", "2001:db8:1::/48"},
			want: []string{
				`--included-cidrs "10.0.0.0/8,2001:db8::/32" has IPv6 addresses, which have no effect with --ipv6 "off"`,
				`--excluded-cidrs "2001:db8:1::/48" has IPv6 addresses, which have no effect with --ipv6 "off"`}},
		"IPv4 CIDRs without IPv6": {args: []string{"--ipv6=off", "-i", "10.0.0.0/8"}},

		"mark and table in mode REDIRECT": {args: []string{"-t", "1337", "-r", "134"},
			want: []string{`--tproxy-mark "1337"` + redirect, `--tproxy-table "134"` + redirect}},
		"tunnel port in mode TPROXY": {args: []string{"-m", "TPROXY", "-e", "15009"},
			want: []string{`--tunnel-port "15009" does not exempt connections to that port: in mode TPROXY --excluded-ports must name it`}},
		"listed tunnel port in mode TPROXY": {args: []string{"-m", "TPROXY", "-b", "80,15000-15010"}, env: []string{"INBOUND_TUNNEL_PORT=15009"},
			want: []string{`environment variable INBOUND_TUNNEL_PORT "15009" does not exempt connections to that port: the mode is TPROXY, and --included-ports "80,15000-15010" has it`}},
		"tunnel port in mode TPROXY, excluded":   {args: []string{"-m", "TPROXY", "-e", "15009", "-d", "15020,15009"}},
		"tunnel port in mode TPROXY, not listed": {args: []string{"-m", "TPROXY", "-e", "15009", "-b", "80"}},
		"tunnel port in mode TPROXY, default":    {args: []string{"-m", "TPROXY", "-e", "15008"}},
		"tunnel port in mode REDIRECT":           {args: []string{"-e", "15009"}},
		"DNS options without DNS": {args: []string{"--capture-all-dns", "--dns-port", "53"},
			want: []string{`--capture-all-dns "true"` + noDNS, `--dns-port "53"` + noDNS}},

		"DNS of machines": {args: []string{"--redirect-dns", "--redirect-virtual-dns", "-k", "docker*"}},
		"DNS of machines without DNS": {args: []string{"--redirect-virtual-dns", "-k", "docker*"},
			want: []string{`--redirect-virtual-dns "true"` + noDNS}},
		"DNS of no machines": {args: []string{"--redirect-dns"}, file: `meshtables.github.io/redirect-virtual-dns="true"`,
			want: []string{`annotation meshtables.github.io/redirect-virtual-dns "true" has no effect without --virtual-interfaces`}},
		"DNS without that of machines": {args: []string{"--redirect-dns", "-k", "docker*"},
			want: []string{`--virtual-interfaces "docker*": DNS over UDP from there gets no answer where the pod masquerades it, because --redirect-dns ` +
				"has connection tracking look for the answers elsewhere\nhint: --redirect-virtual-dns captures these queries too"}},
		"DNS without that of machines, deliberately": {args: []string{"--redirect-dns", "-k", "docker*", "--redirect-virtual-dns=false"}},

		"repeated items": {
			args: []string{"-u", "1337,5,01337", "-o", "80,90-99,80,90:99,90-99", "-i", "10.0.0.1/8,10.2.3.4/8", "--excluded-uids=tcp:53:7,tcp:53:7-7",
				"--included-groups=5,5"},
			env:  []string{"KUBE_VIRT_INTERFACES=tap0,tap1,tap0"},
			file: trafficPrefix + `excludeInboundPorts="22,22,15020"`,
			want: []string{
				`--proxy-uid "1337,5,01337" repeats 1337` + twice,
				`annotation traffic.sidecar.istio.io/excludeInboundPorts "22,22,15020" repeats 22` + twice,
				`--excluded-outbound-ports "80,90-99,80,90:99,90-99" repeats 80,90:99` + twice,
				`--included-cidrs "10.0.0.1/8,10.2.3.4/8" repeats 10.0.0.0/8` + twice,
				`--excluded-uids "tcp:53:7,tcp:53:7-7" repeats tcp:53:7` + twice,
				`environment variable KUBE_VIRT_INTERFACES "tap0,tap1,tap0" repeats tap0` + twice,
				`--included-groups "5,5" repeats 5` + twice}},
		"items that overlap": {args: []string{"-d", "80,80-81", "-x", "10.0.0.0/8,10.0.0.0/9", "--excluded-uids=7,tcp:7"}},

		"same ports": {args: []string{"-z", "15001"},
			want: []string{`--inbound-port "15001" makes inbound and outbound port the same: the proxy cannot tell the directions apart`}},
		"same ports by variable": {env: []string{"ENVOY_PORT=15006"},
			want: []string{`environment variable ENVOY_PORT "15006" makes inbound and outbound port the same: the proxy cannot tell the directions apart`}},

		"unknown annotations": {
			file: "a=\"b\"\n" + trafficPrefix + "includeInboundPort=\"80\"\n" + trafficPrefix + "=\"\"\nsidecar.istio.io/inject=\"true\"\nmeshtables.github.io/excluded-uid=\"7\"\n",
			want: []string{
				`annotation meshtables.github.io/excluded-uid "7" has no effect: there is no such annotation`,
				`annotation traffic.sidecar.istio.io/ "" has no effect: there is no such annotation`,
				`annotation traffic.sidecar.istio.io/includeInboundPort "80" has no effect: there is no such annotation`}},

		"Kubernetes service": {env: []string{"MESHTABLES_DNS_PORT=udp://10.96.0.10:53", "ENVOY_PORT=tcp://10.1.1.1:80"},
			want: []string{`environment variable ENVOY_PORT "tcp://10.1.1.1:80"` + service, `environment variable MESHTABLES_DNS_PORT "udp://10.96.0.10:53"` + service}},
		"Kubernetes service that is overruled": {args: []string{"-p", "1"}, env: []string{"ENVOY_PORT=tcp://10.1.1.1:80"}},
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	wantWarnings(t, warningTests())
}

func wantWarnings(t *testing.T, tests map[string]warningTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got, err := read(t, test.args, config.Sources{Env: test.env, Annotations: []byte(test.file)})
			if err != nil {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("wrong warnings (-want +got):\n%s", diff)
			}
		})
	}
}
