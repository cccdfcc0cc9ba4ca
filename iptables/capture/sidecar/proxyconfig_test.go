package sidecar

import (
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// The settings of the pod's proxy count, each by both of its names, below the annotation that
// says the same.
func TestProxyConfig(t *testing.T) {
	t.Parallel()
	withStatus := func(port uint16) func(*Config) {
		return func(c *Config) { c.ExcludedPorts[0] = iptables.Port(port) }
	}
	for name, test := range map[string]struct {
		text string
		more map[string]string
		want func(*Config)
	}{
		"empty":          {"", nil, func(*Config) {}},
		"other settings": {"concurrency: 2\ntracing: {zipkin: {address: a:1}}", nil, func(*Config) {}},
		"DNS":            {`{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}}`, nil, func(c *Config) { c.RedirectDNS = true }},
		"without quotes": {"proxyMetadata:\n  ISTIO_META_DNS_CAPTURE: true\n", nil, func(c *Config) { c.RedirectDNS = true }},
		"an empty one":   {`proxyMetadata: {ISTIO_META_DNS_CAPTURE: ""}`, nil, func(*Config) {}},
		"dual stack":     {`proxy_metadata: {ISTIO_DUAL_STACK: "true"}`, nil, func(c *Config) { c.IPv6 = IPv6On }},
		"drop invalid":   {`proxyMetadata: {INVALID_DROP: "1"}`, nil, func(c *Config) { c.DropInvalid = true }},
		"groups": {`proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE: "7", ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: 127.0.0.0/8}`, nil,
			func(c *Config) {
				c.ExcludedGroups, c.LoopbackCIDR = []uint32{7}, netip.MustParsePrefix("127.0.0.0/8")
			}},
		"what arguments give": {`proxyMetadata: {ENVOY_PORT: "7", ISTIO_INBOUND_PORTS: "80"}`, nil, func(*Config) {}},
		"mode":                {"interceptionMode: TPROXY", nil, func(c *Config) { c.Mode = ModeTProxy }},
		"mode, too":           {"interception_mode: TPROXY", nil, func(c *Config) { c.Mode = ModeTProxy }},
		"another mode":        {"interceptionMode: TPROXY", map[string]string{modeAnnotation: "REDIRECT"}, func(*Config) {}},
		"status port":         {"statusPort: 15999", nil, withStatus(15999)},
		"status port, too":    {`status_port: "15999"`, nil, withStatus(15999)},
		"another status port": {"statusPort: 15999", map[string]string{statusPortAnnotation: "15998"}, withStatus(15998)},
	} {
		notes := map[string]string{proxyConfigAnnotation: test.text}
		for key, value := range test.more {
			notes[key] = value
		}
		t.Run(name, func(t *testing.T) {
			c, _, err := read(t, nil, config.Sources{PodAnnotations: notes})
			wantConfig(t, c, err, with(test.want))
		})
	}
}

func TestProxyConfigRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"interceptionMode: BOTH":               `annotation proxy.istio.io/config, interceptionMode "BOTH": must be REDIRECT or TPROXY`,
		"statusPort: x":                        `annotation proxy.istio.io/config, statusPort "x": must be one port, from 1 to 65535, or 0 for none`,
		"proxyMetadata: {INVALID_DROP: maybe}": `annotation proxy.istio.io/config, proxyMetadata.INVALID_DROP "maybe": must be true or false`,
		"a: [": `annotation proxy.istio.io/config "a: [": must be YAML or JSON such as {proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}}: ` +
			"yaml: line 1: did not find expected node content",
	} {
		_, _, err := read(t, nil, config.Sources{PodAnnotations: map[string]string{proxyConfigAnnotation: text}})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// Where nobody knows the name servers, all are captured, and nobody can ask for others.
func TestNoNameServers(t *testing.T) {
	t.Parallel()
	all := func(c *Config) { c.RedirectDNS, c.CaptureAllDNS = true, true }
	c, warnings, err := read(t, []string{"--redirect-dns"}, config.Sources{NoNameServers: true})
	wantConfig(t, c, err, with(all))
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	c, _, err = read(t, nil, config.Sources{NoNameServers: true})
	wantConfig(t, c, err, Default())
	_, _, err = read(t, []string{"--redirect-dns", "--capture-all-dns=false"}, config.Sources{NoNameServers: true})
	if want := `--capture-all-dns "false": must be true where the rules are written before the pod has its resolv.conf`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
