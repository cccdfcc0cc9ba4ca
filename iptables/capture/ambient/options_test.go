package ambient

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
)

func diffConfig(got, want Config) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty())
}

func parsePrefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// optionTest gives one option a value.
type optionTest struct {
	name, value string
	variable    string // one of its environment variables
	want        func(*Config)
}

func optionTests() []optionTest {
	return []optionTest{
		{"outbound-port", "9901", "ENVOY_PORT", func(c *Config) { c.OutboundPort = 9901 }},
		{"inbound-port", "9906", "INBOUND_CAPTURE_PORT", func(c *Config) { c.InboundPort = 9906 }},
		{"tunnel-port", "9908", "INBOUND_TUNNEL_PORT", func(c *Config) { c.TunnelPort = 9908 }},
		{"proxy-mark", "1337", "MESHTABLES_PROXY_MARK", func(c *Config) { c.ProxyMark = config.MaskedMark{Value: 1337, Mask: iptables.FullMask} }},
		{"connection-mark", "0x1/0xf", "MESHTABLES_CONNECTION_MARK", func(c *Config) { c.ConnectionMark = config.MaskedMark{Value: 1, Mask: 15} }},
		{"routing-table", "101", "MESHTABLES_ROUTING_TABLE", func(c *Config) { c.RoutingTable = 101 }},
		{"host-probe-address", "fd00::9,10.0.0.9", "MESHTABLES_HOST_PROBE_ADDRESS",
			func(c *Config) {
				c.HostProbe = ProbeAddresses{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")}
			}},
		{"included-ports", "80,8000-8010", "ISTIO_INBOUND_PORTS", func(c *Config) { c.IncludedPorts = config.PortSelection{Ports: policytest.Ports("80", "8000:8010")} }},
		{"excluded-ports", "80", "ISTIO_LOCAL_EXCLUDE_PORTS", func(c *Config) { c.ExcludedPorts = policytest.Ports("80") }},
		{"excluded-source-cidrs", "10.0.0.0/8", "MESHTABLES_EXCLUDED_SOURCE_CIDRS", func(c *Config) { c.ExcludedSourceCIDRs = parsePrefixes("10.0.0.0/8") }},
		{"included-outbound-ports", "443", "ISTIO_OUTBOUND_PORTS", func(c *Config) { c.IncludedOutboundPorts = policytest.Ports("443") }},
		{"excluded-outbound-ports", "3306", "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE", func(c *Config) { c.ExcludedOutboundPorts = policytest.Ports("3306") }},
		{"included-cidrs", "10.0.0.0/8,fd00::/8", "ISTIO_SERVICE_CIDR",
			func(c *Config) {
				c.IncludedCIDRs = config.CIDRSelection{CIDRs: parsePrefixes("10.0.0.0/8", "fd00::/8")}
			}},
		{"excluded-cidrs", "10.0.0.0/8", "ISTIO_SERVICE_EXCLUDE_CIDR", func(c *Config) { c.ExcludedCIDRs = parsePrefixes("10.0.0.0/8") }},
		{"excluded-interfaces", "net1,eth+", "ISTIO_EXCLUDE_INTERFACES", func(c *Config) { c.ExcludedInterfaces = []string{"net1", "eth+"} }},
		{"virtual-interfaces", "virbr0,docker*,auto", "KUBE_VIRT_INTERFACES", func(c *Config) { c.VirtualInterfaces = []string{"virbr0", "docker+", "auto"} }},
		{"redirect-dns", "true", "REDIRECT_DNS", func(c *Config) { c.RedirectDNS = true }},
		{"dns-port", "5353", "MESHTABLES_DNS_PORT", func(c *Config) { c.DNSPort = 5353 }},
		{"redirect-virtual-dns", "true", "MESHTABLES_REDIRECT_VIRTUAL_DNS", func(c *Config) { c.RedirectVirtualDNS = true }},
		{"ipv6", "off", "MESHTABLES_IPV6", func(c *Config) { c.IPv6 = capture.IPv6Off }},
		{"comments", "true", "MESHTABLES_COMMENTS", func(c *Config) { c.Comments = true }},
		{"dual-stack", "true", "ISTIO_DUAL_STACK", func(c *Config) { c.IPv6 = capture.IPv6On }},
	}
}

func TestEveryOption(t *testing.T) {
	t.Parallel()
	var tested []string
	for _, test := range optionTests() {
		tested = append(tested, test.name)
		want := Default()
		test.want(&want)
		for how, given := range map[string]struct {
			args []string
			env  []string
		}{
			"flag":     {args: []string{"--" + test.name + "=" + test.value}},
			"variable": {env: []string{test.variable + "=" + test.value}},
		} {
			c, _, err := policytest.Read(t, new(Options), given.args, config.Sources{Env: given.env})
			if diff := diffConfig(c, want); err != nil || diff != "" {
				t.Errorf("%s by %s: %v, want (-), got (+):\n%s", test.name, how, err, diff)
			}
			again, _, err := policytest.Read(t, new(Options), c.Args(), config.Sources{})
			if diff := diffConfig(again, want); err != nil || diff != "" {
				t.Errorf("%s by %q: %v, want (-), got (+):\n%s", test.name, c.Args(), err, diff)
			}
		}
	}
	for _, test := range refusals() {
		tested = append(tested, test.name)
	}
	for _, row := range new(Options).Rows() {
		if !slices.Contains(tested, row.Name) {
			t.Errorf("--%s is not tested", row.Name)
		}
		if row.Usage == "" || row.Group == "" && !row.Hidden {
			t.Errorf("--%s has no usage or no group", row.Name)
		}
	}
}

// refusal is an option that ambient mode refuses.
type refusal struct{ name, letter, variable, value, why string }

func refusals() []refusal {
	return []refusal{
		{"proxy-uid", "u", "PROXY_UID", "1337", noOwners},
		{"proxy-gid", "g", "PROXY_GID", "1337", noOwners},
		{"excluded-uids", "", "MESHTABLES_EXCLUDED_UIDS", "1000", noOwners},
		{"included-groups", "", "ISTIO_OUTBOUND_OWNER_GROUPS", "7", noOwners},
		{"excluded-groups", "", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "7", noOwners},
		{"mode", "m", "ISTIO_INBOUND_INTERCEPTION_MODE", "TPROXY", noTProxy},
		{"tproxy-mark", "t", "ISTIO_INBOUND_TPROXY_MARK", "1337", noTProxy},
		{"tproxy-table", "r", "ISTIO_INBOUND_TPROXY_ROUTE_TABLE", "133", noTProxy},
		{"loopback-cidr", "", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.0/8", isFixed},
		{"capture-all-dns", "", "CAPTURE_ALL_DNS", "true", isAll},
		{"drop-invalid", "", "INVALID_DROP", "true", noDrop},
	}
}

// Options that have no meaning are refused by name, whatever the source, all at once.
func TestRefused(t *testing.T) {
	t.Parallel()
	var args, env, byFlag, byVariable []string
	for _, test := range refusals() {
		args = append(args, "--"+test.name+"="+test.value)
		env = append(env, test.variable+"="+test.value)
		byFlag = append(byFlag, `--`+test.name+` "`+test.value+`": `+test.why)
		byVariable = append(byVariable, `environment variable `+test.variable+` "`+test.value+`": `+test.why)
		if test.letter == "" {
			continue
		}
		if _, _, err := policytest.Read(t, new(Options), []string{"-" + test.letter, test.value}, config.Sources{}); err == nil || !strings.Contains(err.Error(), test.why) {
			t.Errorf("-%s: got %v", test.letter, err)
		}
	}
	_, _, err := policytest.Read(t, new(Options), args, config.Sources{})
	policytest.WantError(t, err, byFlag...)
	_, _, err = policytest.Read(t, new(Options), nil, config.Sources{Env: env})
	policytest.WantError(t, err, byVariable...)
	if _, _, err := policytest.Read(t, new(Options), []string{"--proxy-uid=", "--drop-invalid=false"}, config.Sources{}); err != nil {
		t.Errorf("without values: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--host-probe-address=": `--host-probe-address "": must be an address, or one of each family, separated by commas; the list is empty`,
		"--host-probe-address=10.0.0.1,10.0.0.2": `--host-probe-address "10.0.0.1,10.0.0.2": must be an address, or one of each family, separated by commas; ` +
			`the list has several of one family`,
		"--host-probe-address=10.0.0.0/8": `--host-probe-address "10.0.0.0/8": must be an address, or one of each family, separated by commas; "10.0.0.0/8" is not an address`,
		"--host-probe-address=127.0.0.1,fe80::1%eth0": `--host-probe-address "127.0.0.1,fe80::1%eth0": must be an address, or one of each family, separated by commas; ` +
			`"127.0.0.1" is not an address that the node can have, "fe80::1%eth0" has a zone`,
		"--connection-mark=0x539/0xfff": `--connection-mark "0x539/0xfff": must differ from 0x539/0xfff in a bit that both masks have: a packet could have both marks`,
		"--proxy-mark=0x1000/0xf000":    `--proxy-mark "0x1000/0xf000": must differ from 0x111/0xfff in a bit that both masks have: a packet could have both marks`,
		"--ipv6=off --dual-stack":       `--ipv6 "off" and --dual-stack "true": must not contradict each other`,
		"--routing-table=254":           `--routing-table "254": must not be 253, 254 or 255: these are the system's routing tables`,
	} {
		_, _, err := policytest.Read(t, new(Options), strings.Fields(args), config.Sources{})
		policytest.WantError(t, err, want)
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	none := config.PortSelection{}
	for name, test := range map[string]struct {
		args, annotations string
		want              func(*Config)
	}{
		"gateway":                 {"", `ambient.istio.io/bypass-inbound-capture="true"`, func(c *Config) { c.IncludedPorts = none }},
		"no gateway":              {"", `ambient.istio.io/bypass-inbound-capture="false"`, func(*Config) {}},
		"gateway with ports":      {"-b 80", `ambient.istio.io/bypass-inbound-capture="true"`, func(c *Config) { c.IncludedPorts = config.PortSelection{Ports: policytest.Ports("80")} }},
		"DNS":                     {"", `ambient.istio.io/dns-capture="true"`, func(c *Config) { c.RedirectDNS = true }},
		"no DNS, in spite of all": {"--redirect-dns", `ambient.istio.io/dns-capture="false"`, func(*Config) {}},
		"DNS, in spite of all":    {"--redirect-dns=false", `ambient.istio.io/dns-capture="true"`, func(c *Config) { c.RedirectDNS = true }},
		"machines":                {"", `istio.io/reroute-virtual-interfaces="virbr0,virbr1"`, func(c *Config) { c.VirtualInterfaces = []string{"virbr0", "virbr1"} }},
		"machines, by flag":       {"-k tap0", `istio.io/reroute-virtual-interfaces="virbr0"`, func(c *Config) { c.VirtualInterfaces = []string{"tap0"} }},
		"those of sidecars":       {"", `traffic.sidecar.istio.io/excludeInboundPorts="80"`, func(*Config) {}},
	} {
		want := Default()
		test.want(&want)
		got, _, err := policytest.Read(t, new(Options), strings.Fields(test.args), config.Sources{Annotations: []byte(test.annotations)})
		if diff := diffConfig(got, want); err != nil || diff != "" {
			t.Errorf("%s: %v, want (-), got (+):\n%s", name, err, diff)
		}
	}
	for _, key := range []string{bypassAnnotation, dnsCaptureAnnotation} {
		for _, args := range [][]string{nil, {"--redirect-dns"}} {
			_, _, err := policytest.Read(t, new(Options), args, config.Sources{Annotations: []byte(key + `="yes"`)})
			policytest.WantError(t, err, `annotation `+key+` "yes": must be true or false`)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"":                              nil,
		"--dns-port=53":                 {`--dns-port "53" has no effect without --redirect-dns`},
		"--redirect-dns -o 50-60":       {`--redirect-dns "true" has no effect: --excluded-outbound-ports "50-60" has port 53`},
		"-b 80 -d 443":                  {`--excluded-ports "443" has no effect with --included-ports "80"`},
		"-b 15000-16000":                {`--included-ports "15000-16000" does not capture port 15008, where the proxy accepts tunnelled connections (--tunnel-port)`},
		"--included-cidrs= -o 80":       {`--excluded-outbound-ports "80" has no effect: nothing outbound is captured`},
		"--included-cidrs= -x 10.0.0.1": {`--excluded-cidrs "10.0.0.1" has no effect: nothing outbound is captured`},
		"-q 80":                         {`--included-outbound-ports "80" has no effect: all outbound ports are captured, because --included-cidrs is *`},
		"-x 0.0.0.0/0":                  {`--excluded-cidrs "0.0.0.0/0" has every address of IPv4: nothing outbound in IPv4 is captured`},
		"-d 1-65535":                    {`--excluded-ports "1-65535" has every port: nothing inbound is captured`},
		"-x fd00::/8 --ipv6=off":        {`--excluded-cidrs "fd00::/8" has IPv6 addresses, which have no effect with --ipv6 "off"`},
		"--inbound-port=15001":          {`--inbound-port "15001" makes inbound and outbound port the same: the proxy cannot tell the directions apart`},
	} {
		_, got, err := policytest.Read(t, new(Options), strings.Fields(args), config.Sources{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, want (-), got (+):\n%s", args, err, diff)
		}
	}
}
