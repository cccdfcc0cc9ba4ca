package sidecar

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// optionTest gives one option a value by each of its names.
type optionTest struct {
	name, reference, letter string
	env                     []string
	annotation              string
	value                   string
	want                    func(*Config)
}

func optionTests() []optionTest {
	return []optionTest{
		{"outbound-port", "envoy-port", "p", []string{"MESHTABLES_OUTBOUND_PORT", "ENVOY_PORT"}, "",
			"9901", func(c *Config) { c.OutboundPort = 9901 }},
		{"inbound-port", "inbound-capture-port", "z", []string{"MESHTABLES_INBOUND_PORT", "INBOUND_CAPTURE_PORT"}, "",
			"9906", func(c *Config) { c.InboundPort = 9906 }},
		{"tunnel-port", "inbound-tunnel-port", "e", []string{"MESHTABLES_TUNNEL_PORT", "INBOUND_TUNNEL_PORT"}, "",
			"9908", func(c *Config) { c.TunnelPort = 9908 }},
		{"proxy-uid", "proxy-uid", "u", []string{"MESHTABLES_PROXY_UID", "PROXY_UID"}, "",
			"3,envoy,0", func(c *Config) { c.ProxyUIDs = []uint32{3, 101, 0}; c.ProxyGIDs = []uint32{3, 101, 0} }},
		{"proxy-gid", "proxy-gid", "g", []string{"MESHTABLES_PROXY_GID", "PROXY_GID"}, "",
			"mesh,1", func(c *Config) { c.ProxyGIDs = []uint32{303, 1} }},
		{"mode", "istio-inbound-interception-mode", "m", []string{"MESHTABLES_MODE", "ISTIO_INBOUND_INTERCEPTION_MODE"},
			"sidecar.istio.io/interceptionMode",
			"TPROXY", func(c *Config) { c.Mode = ModeTProxy }},
		{"included-ports", "istio-inbound-ports", "b", []string{"MESHTABLES_INCLUDED_PORTS", "ISTIO_INBOUND_PORTS"},
			"traffic.sidecar.istio.io/includeInboundPorts",
			"80,8000-8010", func(c *Config) { c.IncludedPorts = config.PortSelection{Ports: portRanges(80, 80, 8000, 8010)} }},
		{"excluded-ports", "istio-local-exclude-ports", "d", []string{"MESHTABLES_EXCLUDED_PORTS", "ISTIO_LOCAL_EXCLUDE_PORTS"},
			"", // the annotation adds to the default: see TestOwnPorts
			"80, 90:99 ,80", func(c *Config) { c.ExcludedPorts = portRanges(80, 80, 90, 99) }},
		{"included-outbound-ports", "istio-outbound-ports", "q", []string{"MESHTABLES_INCLUDED_OUTBOUND_PORTS", "ISTIO_OUTBOUND_PORTS"},
			"traffic.sidecar.istio.io/includeOutboundPorts",
			"65535,443", func(c *Config) { c.IncludedOutboundPorts = portRanges(65535, 65535, 443, 443) }},
		{"excluded-outbound-ports", "istio-local-outbound-ports-exclude", "o",
			[]string{"MESHTABLES_EXCLUDED_OUTBOUND_PORTS", "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"},
			"traffic.sidecar.istio.io/excludeOutboundPorts",
			"3306", func(c *Config) { c.ExcludedOutboundPorts = portRanges(3306, 3306) }},
		{"included-cidrs", "istio-service-cidr", "i", []string{"MESHTABLES_INCLUDED_CIDRS", "ISTIO_SERVICE_CIDR"},
			"traffic.sidecar.istio.io/includeOutboundIPRanges",
			"10.1.2.3/8,2001:db8::1", func(c *Config) {
				c.IncludedCIDRs = config.CIDRSelection{CIDRs: parsePrefixes("10.0.0.0/8", "2001:db8::1/128")}
			}},
		{"excluded-cidrs", "istio-service-exclude-cidr", "x", []string{"MESHTABLES_EXCLUDED_CIDRS", "ISTIO_SERVICE_EXCLUDE_CIDR"},
			"traffic.sidecar.istio.io/excludeOutboundIPRanges",
			"10.1.2.3, 0.0.0.0/0", func(c *Config) { c.ExcludedCIDRs = parsePrefixes("10.1.2.3/32", "0.0.0.0/0") }},
		{"excluded-source-cidrs", "", "", []string{"MESHTABLES_EXCLUDED_SOURCE_CIDRS"}, "",
			"10.1.2.3/8,fd00::7", func(c *Config) { c.ExcludedSourceCIDRs = parsePrefixes("10.0.0.0/8", "fd00::7/128") }},
		{"excluded-uids", "", "", []string{"MESHTABLES_EXCLUDED_UIDS"}, "meshtables.github.io/excluded-uids",
			"1000,udp:53:envoy,tcp:3-5,80-81:7,tcp:8000:8010:9", func(c *Config) {
				c.ExcludedUIDs = []UserTraffic{
					{First: 1000, Last: 1000},
					{Protocol: "udp", Ports: iptables.Port(53), First: 101, Last: 101},
					{Protocol: "tcp", First: 3, Last: 5},
					{Ports: iptables.PortRange{First: 80, Last: 81}, First: 7, Last: 7},
					{Protocol: "tcp", Ports: iptables.PortRange{First: 8000, Last: 8010}, First: 9, Last: 9},
				}
			}},
		{"excluded-interfaces", "istio-exclude-interfaces", "c", []string{"MESHTABLES_EXCLUDED_INTERFACES", "ISTIO_EXCLUDE_INTERFACES"},
			"traffic.sidecar.istio.io/excludeInterfaces",
			"net1,eth+,a23456789012345", func(c *Config) {
				c.ExcludedInterfaces = []string{"net1", "eth+", "a23456789012345"}
			}},
		{"virtual-interfaces", "kube-virt-interfaces", "k", []string{"MESHTABLES_VIRTUAL_INTERFACES", "KUBE_VIRT_INTERFACES"},
			"istio.io/reroute-virtual-interfaces traffic.sidecar.istio.io/kubevirtInterfaces",
			"virbr0,docker*,auto", func(c *Config) { c.VirtualInterfaces = []string{"virbr0", "docker+", "auto"} }},
		{"tproxy-mark", "istio-inbound-tproxy-mark", "t", []string{"MESHTABLES_TPROXY_MARK", "ISTIO_INBOUND_TPROXY_MARK"}, "",
			"0xFFFFFFFF", func(c *Config) { c.TProxyMark = 4294967295 }},
		{"tproxy-table", "istio-inbound-tproxy-route-table", "r", []string{"MESHTABLES_TPROXY_TABLE", "ISTIO_INBOUND_TPROXY_ROUTE_TABLE"}, "",
			"256", func(c *Config) { c.TProxyTable = 256 }},
		{"redirect-dns", "redirect-dns", "", []string{"MESHTABLES_REDIRECT_DNS", "REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"}, "",
			"true", func(c *Config) { c.RedirectDNS = true }},
		{"capture-all-dns", "capture-all-dns", "", []string{"MESHTABLES_CAPTURE_ALL_DNS", "CAPTURE_ALL_DNS"}, "",
			"1", func(c *Config) { c.CaptureAllDNS = true }},
		{"dns-port", "", "", []string{"MESHTABLES_DNS_PORT"}, "",
			"5353", func(c *Config) { c.DNSPort = 5353 }},
		{"redirect-virtual-dns", "", "", []string{"MESHTABLES_REDIRECT_VIRTUAL_DNS"}, "meshtables.github.io/redirect-virtual-dns",
			"true", func(c *Config) { c.RedirectVirtualDNS = true }},
		{"included-groups", "", "", []string{"MESHTABLES_INCLUDED_GROUPS", "ISTIO_OUTBOUND_OWNER_GROUPS"}, "",
			"ops,7", func(c *Config) { c.IncludedGroups = config.GroupSelection{Groups: []uint32{404, 7}} }},
		{"excluded-groups", "", "", []string{"MESHTABLES_EXCLUDED_GROUPS", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"}, "",
			"888,mesh", func(c *Config) { c.ExcludedGroups = []uint32{888, 303} }},
		{"loopback-cidr", "", "", []string{"MESHTABLES_LOOPBACK_CIDR", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}, "",
			"127.0.0.1/8", func(c *Config) { c.LoopbackCIDR = netip.MustParsePrefix("127.0.0.0/8") }},
		{"drop-invalid", "drop-invalid", "", []string{"MESHTABLES_DROP_INVALID", "DROP_INVALID", "INVALID_DROP"}, "",
			"T", func(c *Config) { c.DropInvalid = true }},
		{"ipv6", "", "", []string{"MESHTABLES_IPV6"}, "",
			"off", func(c *Config) { c.IPv6 = IPv6Off }},
		{"comments", "", "", []string{"MESHTABLES_COMMENTS"}, "",
			"true", func(c *Config) { c.Comments = true }},
		{"dual-stack", "dual-stack", "", []string{"MESHTABLES_DUAL_STACK", "DUAL_STACK", "ISTIO_DUAL_STACK"}, "",
			"true", func(c *Config) { c.IPv6 = IPv6On }},
	}
}

func TestEveryOptionByEveryName(t *testing.T) {
	t.Parallel()
	var tested []string
	for _, test := range optionTests() {
		tested = append(tested, test.name)
		want := with(test.want)
		try := func(how string, args []string, src config.Sources) {
			t.Run(test.name+"/"+how, func(t *testing.T) {
				c, _, err := read(t, args, src)
				wantConfig(t, c, err, want)
				again, _, err := read(t, c.Args(), config.Sources{})
				wantConfig(t, again, err, want)
			})
		}
		try("name", []string{"--" + test.name + "=" + test.value}, config.Sources{})
		if test.reference != "" {
			try("reference", []string{"--" + test.reference + "=" + test.value}, config.Sources{})
		}
		if test.letter != "" {
			try("letter", []string{"-" + test.letter, test.value}, config.Sources{})
		}
		for _, name := range test.env {
			try(name, nil, config.Sources{Env: []string{name + "=" + test.value}})
		}
		for key := range strings.FieldsSeq(test.annotation) {
			try(key, nil, config.Sources{Annotations: []byte(key + `="` + test.value + `"`)})
			try(key+" of the pod", nil, config.Sources{PodAnnotations: map[string]string{key: test.value}})
		}
	}
	_, flags := newFlags()
	for _, o := range flags.Options() {
		i := slices.Index(tested, o.Name)
		if i < 0 {
			t.Errorf("--%s is not tested", o.Name)
			continue
		}
		test := optionTests()[i]
		if test.letter != o.Letter || !slices.Equal(test.env, o.Variables()) {
			t.Errorf("--%s: letter %q, variables %q, want %q, %q", o.Name, o.Letter, o.Variables(), test.letter, test.env)
		}
	}
}

// Variables of others, whatever they hold, are none of our options.
func TestForeignVariables(t *testing.T) {
	t.Parallel()
	var env []string
	for _, name := range []string{"MODE", "BACKEND", "CONFIG", "OUTPUT", "IPV6", "INCLUDED_PORTS", "DNS_PORT"} {
		env = append(env, name+"=production")
	}
	c, warnings, err := read(t, nil, config.Sources{Env: env})
	wantConfig(t, c, err, Default())
	if len(warnings) > 0 {
		t.Errorf("got warnings %q", warnings)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	most, mostListed := ids(MaxIncludedGroups)
	tests := map[string]struct {
		args []string
		want func(*Config)
	}{
		"no inbound":       {[]string{"-b", ""}, func(c *Config) { c.IncludedPorts = config.PortSelection{} }},
		"no outbound":      {[]string{"-i", " "}, func(c *Config) { c.IncludedCIDRs = config.CIDRSelection{} }},
		"all, with blanks": {[]string{"-b", " * ", "-i", "*"}, func(*Config) {}},
		"nothing excluded": {[]string{"-d", "", "-x", "", "-c", "", "-o", ""}, func(c *Config) { c.ExcludedPorts = nil }},
		"bool alone":       {[]string{"--redirect-dns", "--dual-stack"}, func(c *Config) { c.RedirectDNS = true; c.IPv6 = IPv6On }},
		"bool off":         {[]string{"--redirect-dns=0"}, func(*Config) {}},
		"uid and gid":      {[]string{"-u", "5", "-g", "6,7"}, func(c *Config) { c.ProxyUIDs = []uint32{5}; c.ProxyGIDs = []uint32{6, 7} }},
		"empty uid":        {[]string{"-u", "", "-g", " "}, func(*Config) {}},
		"last flag counts": {[]string{"--envoy-port=1", "-p", "2", "--outbound-port", "3"}, func(c *Config) { c.OutboundPort = 3 }},
		"a bad one before": {[]string{"--envoy-port=http", "-p", "2"}, func(c *Config) { c.OutboundPort = 2 }},
		"all then list":    {[]string{"-b", "*", "-b", "1"}, func(c *Config) { c.IncludedPorts = config.PortSelection{Ports: portRanges(1, 1)} }},
		"hexadecimal":      {[]string{"-t", "0x539", "-r", "0X10"}, func(c *Config) { c.TProxyTable = 16 }},
		"loopback address": {[]string{"--loopback-cidr=127.3.4.5"}, func(c *Config) { c.LoopbackCIDR = netip.MustParsePrefix("127.3.4.5/32") }},
		"reserved mark":    {[]string{"-t", "1338"}, func(c *Config) { c.TProxyMark = 1338 }},
		"equal ports":      {[]string{"-z", "15001"}, func(c *Config) { c.InboundPort = 15001 }},
		"most groups": {[]string{"--included-groups=" + mostListed + ",1"}, func(c *Config) {
			c.IncludedGroups = config.GroupSelection{Groups: most}
		}},
		"injector": {
			[]string{"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020"},
			func(c *Config) { c.ExcludedPorts = portRanges(15090, 15090, 15021, 15021, 15020, 15020) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, err := read(t, test.args, config.Sources{})
			wantConfig(t, c, err, with(test.want))
		})
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	var (
		env  = []string{"ISTIO_OUTBOUND_PORTS=2"}
		file = []byte(`traffic.sidecar.istio.io/includeOutboundPorts="3"`)
	)
	tests := map[string]struct {
		args []string
		src  config.Sources
		want []iptables.PortRange
	}{
		"flag":        {[]string{"-q", "1"}, config.Sources{Env: env, Annotations: file}, portRanges(1, 1)},
		"empty flag":  {[]string{"-q", ""}, config.Sources{Env: env, Annotations: file}, nil},
		"environment": {nil, config.Sources{Env: env, Annotations: file}, portRanges(2, 2)},
		"annotation":  {nil, config.Sources{Annotations: file}, portRanges(3, 3)},
		"default":     {nil, config.Sources{}, nil},
		"what is overruled is not read": {
			[]string{"-q", "1"},
			config.Sources{Env: []string{"ISTIO_OUTBOUND_PORTS=x"}, Annotations: []byte(`traffic.sidecar.istio.io/includeOutboundPorts="y"`)},
			portRanges(1, 1),
		},
		"last of two variables of one name": {
			nil, config.Sources{Env: []string{"ISTIO_OUTBOUND_PORTS=2", "ISTIO_OUTBOUND_PORTS=4"}}, portRanges(4, 4),
		},
		"emptied variable": {
			nil, config.Sources{Env: []string{"ISTIO_OUTBOUND_PORTS=2", "ISTIO_OUTBOUND_PORTS="}}, nil,
		},
		"two names that agree": {
			nil, config.Sources{Env: []string{"ISTIO_OUTBOUND_PORTS=2-3,4", "MESHTABLES_INCLUDED_OUTBOUND_PORTS=2:3, 4"}}, portRanges(2, 3, 4, 4),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, err := read(t, test.args, test.src)
			wantConfig(t, c, err, with(func(c *Config) { c.IncludedOutboundPorts = test.want }))
		})
	}
}
