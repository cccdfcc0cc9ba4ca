package linkerd

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/internal/policytest"
)

func diffConfig(got, want Config) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty())
}

// optionTest gives one option a value.
type optionTest struct {
	name, value string
	// flag is a flag of the reference for it, with its letter or without.
	flag string
	want func(*Config)
}

func optionTests() []optionTest {
	return []optionTest{
		{"inbound-port", "9906", "-p", func(c *Config) { c.InboundPort = 9906 }},
		{"outbound-port", "9901", "-o", func(c *Config) { c.OutboundPort = 9901 }},
		{"proxy-uid", "1000,1001", "-u", func(c *Config) { c.ProxyUIDs = []uint32{1000, 1001} }},
		{"proxy-gid", "1002", "-g", func(c *Config) { c.ProxyGIDs = []uint32{1002} }},
		{"included-ports", "80,8000-8010", "-r", func(c *Config) { c.IncludedPorts = config.PortSelection{Ports: policytest.Ports("80", "8000:8010")} }},
		{"excluded-ports", "22,80-90", "--inbound-ports-to-ignore", func(c *Config) { c.ExcludedPorts = policytest.Ports("22", "80:90") }},
		{"excluded-source-cidrs", "10.0.0.0/8,fd00::/8", "--subnets-to-ignore", func(c *Config) {
			c.ExcludedSourceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		}},
		{"excluded-source-cidrs", "10.0.0.0/8", "--inbound-subnets-to-ignore", func(c *Config) {
			c.ExcludedSourceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}},
		{"excluded-cidrs", "10.0.0.0/8,fd00::/8", "--outbound-subnets-to-ignore", func(c *Config) {
			c.ExcludedCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		}},
		{"excluded-outbound-ports", "3306", "--outbound-ports-to-ignore", func(c *Config) { c.ExcludedOutboundPorts = policytest.Ports("3306") }},
		{"timeout-close-wait-secs", "3600", "--timeout-close-wait-secs", func(c *Config) { c.CloseWaitTimeout = 3600 }},
		{"ipv6", "true", "", func(c *Config) { c.IPv6 = capture.IPv6On }},
		{"comments", "true", "", func(c *Config) { c.Comments = true }},
	}
}

func TestEveryOption(t *testing.T) {
	t.Parallel()
	var tested []string
	for _, test := range optionTests() {
		tested = append(tested, test.name)
		want := Default()
		test.want(&want)
		given := map[string]struct{ args, env []string }{
			"flag":     {args: []string{"--" + test.name + "=" + test.value}},
			"variable": {env: []string{"MESHTABLES_" + strings.ToUpper(strings.ReplaceAll(test.name, "-", "_")) + "=" + test.value}},
		}
		if test.flag != "" {
			given["the reference's flag"] = struct{ args, env []string }{args: []string{test.flag, test.value}}
		}
		for how, given := range given {
			c, _, err := policytest.Read(t, new(Options), given.args, config.Sources{Env: given.env})
			if diff := diffConfig(c, want); err != nil || diff != "" {
				t.Errorf("%s by %s: %v, want (-), got (+):\n%s", test.name, how, err, diff)
			}
			again, err := capture.Parse(Policy{}, c.Arguments())
			if err != nil || diffConfig(again.(Config), want) != "" || len(named(c)) > 1 {
				t.Errorf("%s by %q: %v", test.name, c.Arguments(), err)
			}
		}
	}
	for _, row := range new(Options).Rows() {
		if !slices.Contains(tested, row.Name) && row.Refused == "" {
			t.Errorf("--%s is not tested", row.Name)
		}
		if row.Usage == "" || row.Group == "" && !row.Hidden {
			t.Errorf("--%s has no usage or no group", row.Name)
		}
	}
	if diff := cmp.Diff([]string{"--excluded-ports=", "--excluded-outbound-ports="}, Default().Arguments()); diff != "" {
		t.Errorf("by default: want (-), got (+):\n%s", diff)
	}
}

// named returns the arguments but those that are always there and empty.
func named(c Config) []string {
	return slices.DeleteFunc(c.Arguments(), func(arg string) bool { return strings.HasSuffix(arg, "=") })
}

// The environment has none of the reference's names: they belong to others there.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	env := []string{"PROXY_UID=7", "INCOMING_PROXY_PORT=7", "PORTS_TO_REDIRECT=7", "ISTIO_META_DNS_CAPTURE=true", "INBOUND_CAPTURE_PORT=7"}
	if c, warnings, err := policytest.Read(t, new(Options), nil, config.Sources{Env: env}); err != nil || len(warnings) > 0 || diffConfig(c, Default()) != "" {
		t.Errorf("got %q, %q, %v", c.Arguments(), warnings, err)
	}
}

// --ipv6 is a switch of the reference.
func TestIPv6(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]capture.IPv6{
		"": capture.IPv6Auto, "--ipv6": capture.IPv6On, "--ipv6=true": capture.IPv6On, "--ipv6=false": capture.IPv6Off,
		"--ipv6=off": capture.IPv6Off, "--ipv6=auto": capture.IPv6Auto, "--ipv6 --comments": capture.IPv6On,
	} {
		if c, _, err := policytest.Read(t, new(Options), strings.Fields(args), config.Sources{}); err != nil || c.IPv6 != want {
			t.Errorf("%s: got %s, %v", args, c.IPv6, err)
		}
	}
}

// Options of Istio's policies are refused by name, all at once; what asks for nothing is not.
func TestRefused(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"tunnel-port": "15008", "mode": "TPROXY", "tproxy-mark": "7", "tproxy-table": "7", "included-outbound-ports": "80",
		"included-cidrs": "10.0.0.0/8", "excluded-uids": "7", "included-groups": "7", "excluded-groups": "7",
		"excluded-interfaces": "net1", "virtual-interfaces": "tap0", "dns-port": "53", "loopback-cidr": "127.0.0.0/8",
		"redirect-dns": "true", "capture-all-dns": "true", "redirect-virtual-dns": "true", "drop-invalid": "true",
	}
	var args, want, refused []string
	for _, row := range new(Options).Rows() {
		if row.Refused == "" {
			continue
		}
		refused = append(refused, row.Name)
		args = append(args, "--"+row.Name+"="+values[row.Name])
		want = append(want, "--"+row.Name+` "`+values[row.Name]+`": `+row.Refused)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(values)), slices.Sorted(slices.Values(refused))); diff != "" {
		t.Errorf("tested (-), refused (+):\n%s", diff)
	}
	_, _, err := policytest.Read(t, new(Options), args, config.Sources{})
	policytest.WantError(t, err, want...)
	if _, _, err := policytest.Read(t, new(Options), []string{"--included-cidrs=", "--redirect-dns=false", "-m", ""}, config.Sources{}); err != nil {
		t.Errorf("without values: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const noPorts = "must be ports such as 80 or 8000-8010, separated by commas; "
	for args, want := range map[string]string{
		"-p 0":          `--inbound-port "0": must be one port, from 1 to 65535`,
		"--proxy-uid=":  `--proxy-uid "": must be a user: without one the proxy's own traffic would be captured`,
		"--proxy-uid=x": `--proxy-uid "x": must be users by name or number, separated by commas; "x" is not a known user: there is no list of users and groups`,
		"--inbound-ports-to-ignore=80 --inbound-ports-to-ignore=x": `--inbound-ports-to-ignore "80,x": ` + noPorts + `"x" is not a port or a range of ports`,
		"--outbound-ports-to-ignore=90-80":                         `--outbound-ports-to-ignore "90-80": ` + noPorts + `"90-80" is not a port or a range of ports`,
		"--subnets-to-ignore=10.0.0.0/33":                          `--subnets-to-ignore "10.0.0.0/33": must be addresses or CIDRs such as 10.0.0.0/8 or 2001:db8::1, separated by commas; "10.0.0.0/33" is neither`,
		"--timeout-close-wait-secs=-1":                             `--timeout-close-wait-secs "-1": must be a number of seconds, from 0 to 2147483`,
		"--timeout-close-wait-secs=2147484":                        `--timeout-close-wait-secs "2147484": must be a number of seconds, from 0 to 2147483`,
	} {
		_, _, err := policytest.Read(t, new(Options), strings.Fields(args), config.Sources{})
		policytest.WantError(t, err, want)
	}
}

// A pod with annotations of Linkerd's has the ports that its injector would give, unless flags
// say otherwise.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args, annotations string
		want              []string
	}{
		"none":               {"", "a=\"b\"", nil},
		"injected":           {"", `linkerd.io/proxy-version="edge-26.7.1"`, []string{"--excluded-ports=4190,4191,4567,4568", "--excluded-outbound-ports=4567,4568"}},
		"ports":              {"", "config.linkerd.io/skip-inbound-ports=\"25,3306-3310\"\nconfig.linkerd.io/skip-outbound-ports=\"443\"", []string{"--excluded-ports=4190,4191,25,3306:3310", "--excluded-outbound-ports=443"}},
		"no ports":           {"", "config.linkerd.io/skip-inbound-ports=\"\"\nconfig.linkerd.io/skip-outbound-ports=\"\"", []string{"--excluded-ports=4190,4191"}},
		"one's own again":    {"", "config.linkerd.io/skip-inbound-ports=\"4191,80\"", []string{"--excluded-ports=4190,4191,80", "--excluded-outbound-ports=4567,4568"}},
		"moved ports":        {"", "config.linkerd.io/control-port=\"1\"\nconfig.linkerd.io/admin-port=\"2\"\nconfig.linkerd.io/inbound-port=\"3\"\nconfig.linkerd.io/outbound-port=\"4\"", []string{"--inbound-port=3", "--outbound-port=4", "--excluded-ports=1,2,4567,4568", "--excluded-outbound-ports=4567,4568"}},
		"user":               {"", "config.linkerd.io/proxy-uid=\"7\"\nconfig.linkerd.io/proxy-gid=\"8\"\nconfig.linkerd.io/skip-outbound-ports=\"\"", []string{"--proxy-uid=7", "--proxy-gid=8", "--excluded-ports=4190,4191,4567,4568"}},
		"subnets":            {"", `config.linkerd.io/skip-subnets="10.0.0.0/8,fd00::/8"`, []string{"--excluded-ports=4190,4191,4567,4568", "--excluded-source-cidrs=10.0.0.0/8,fd00::/8", "--excluded-outbound-ports=4567,4568"}},
		"subnets, apart":     {"--excluded-ports= --excluded-outbound-ports=", "config.linkerd.io/skip-inbound-subnets=\"10.0.0.0/8\"\nconfig.linkerd.io/skip-outbound-subnets=\"fd00::/8\"", []string{"--excluded-source-cidrs=10.0.0.0/8", "--excluded-cidrs=fd00::/8"}},
		"subnets, all":       {"--excluded-ports= --excluded-outbound-ports=", "config.linkerd.io/skip-inbound-subnets=\"10.0.0.0/8\"\nconfig.linkerd.io/skip-subnets=\"fd00::/8\"", []string{"--excluded-source-cidrs=fd00::/8,10.0.0.0/8"}},
		"subnets, one empty": {"--excluded-ports= --excluded-outbound-ports=", "config.linkerd.io/skip-inbound-subnets=\"10.0.0.0/8\"\nconfig.linkerd.io/skip-subnets=\"\"", []string{"--excluded-source-cidrs=10.0.0.0/8"}},
		"timeout":            {"--excluded-ports= --excluded-outbound-ports=", `config.linkerd.io/close-wait-timeout="1h30m"`, []string{"--timeout-close-wait-secs=5400"}},
		"timeout, by flag":   {"--excluded-ports= --excluded-outbound-ports= --timeout-close-wait-secs=7", `config.linkerd.io/close-wait-timeout="1h30m"`, []string{"--timeout-close-wait-secs=7"}},
		"ports, by flag":     {"--excluded-ports=80 --excluded-outbound-ports=443", "config.linkerd.io/skip-inbound-ports=\"25\"\nconfig.linkerd.io/skip-outbound-ports=\"26\"", []string{"--excluded-ports=80", "--excluded-outbound-ports=443"}},
		"opaque and unknown": {"--excluded-ports= --excluded-outbound-ports=", "config.linkerd.io/opaque-ports=\"x\"\nconfig.linkerd.io/proxy-log-level=\"debug\"", nil},
		"Istio's":            {"", `traffic.sidecar.istio.io/excludeInboundPorts="80"`, nil},
	} {
		got, warnings, err := policytest.Read(t, new(Options), strings.Fields(test.args), config.Sources{Annotations: []byte(test.annotations)})
		if diff := cmp.Diff(test.want, named(got), cmpopts.EquateEmpty()); err != nil || diff != "" || len(warnings) > 0 {
			t.Errorf("%s: %v, %q, want (-), got (+):\n%s", name, err, warnings, diff)
		}
	}
	for annotation, want := range map[string]string{
		`config.linkerd.io/close-wait-timeout="3600"`:                                                 `annotation config.linkerd.io/close-wait-timeout "3600": must be a duration such as 3600s or 1h`,
		`config.linkerd.io/close-wait-timeout="-1s"`:                                                  `annotation config.linkerd.io/close-wait-timeout "-1s": must be a duration such as 3600s or 1h`,
		`meshtables.github.io/excluded-uids="7"`:                                                      `annotation meshtables.github.io/excluded-uids "7": has no meaning for Linkerd: its rules know no users and groups but the proxy's`,
		`config.linkerd.io/control-port="x"`:                                                          `annotation config.linkerd.io/control-port "x": must be one port, from 1 to 65535`,
		"config.linkerd.io/skip-subnets=\"10.0.0.0/8\"\nconfig.linkerd.io/skip-inbound-subnets=\"x\"": `annotation config.linkerd.io/skip-subnets and annotation config.linkerd.io/skip-inbound-subnets "10.0.0.0/8,x": must be addresses or CIDRs such as 10.0.0.0/8 or 2001:db8::1, separated by commas; "x" is neither`,
		`config.linkerd.io/skip-outbound-ports="http"`:                                                `annotation config.linkerd.io/skip-outbound-ports "http": must be ports such as 80 or 8000-8010, separated by commas; "http" is not a port or a range of ports`,
	} {
		_, _, err := policytest.Read(t, new(Options), nil, config.Sources{Annotations: []byte(annotation)})
		policytest.WantError(t, err, want)
	}
}

// What an operator sets for many pods is instead of the chart's values, and annotations are
// instead of that.
func TestSettings(t *testing.T) {
	t.Parallel()
	const injected = `linkerd.io/proxy-version="edge-26.7.1"` + "\n"
	for name, test := range map[string]struct {
		annotations string
		want        []string
	}{
		"settings":    {injected, []string{"--inbound-port=5143", "--excluded-ports=4190,4191,80", "--excluded-outbound-ports=443"}},
		"annotations": {injected + `config.linkerd.io/skip-inbound-ports="25"`, []string{"--inbound-port=5143", "--excluded-ports=4190,4191,25", "--excluded-outbound-ports=443"}},
	} {
		var o Options
		flags := config.WithoutArguments(o.Rows())
		if err := flags.AddSettings("options", []byte(`{"inbound-port": 5143, "excluded-ports": [80], "excluded-outbound-ports": 443}`)); err != nil {
			t.Fatal(err)
		}
		got, _, err := o.Read(flags, config.Sources{Annotations: []byte(test.annotations)})
		if diff := cmp.Diff(test.want, named(got)); err != nil || diff != "" {
			t.Errorf("%s: %v, want (-), got (+):\n%s", name, err, diff)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const hint = "\nhint: run the proxy as a user or group of its own, such as 2102"
	for args, want := range map[string][]string{
		"":                                         nil,
		"--inbound-ports-to-ignore=80,80":          {`--inbound-ports-to-ignore "80,80" repeats 80, which has no effect`},
		"--excluded-ports=1-65535":                 {`--excluded-ports "1-65535" has every port: nothing inbound is captured`},
		"--outbound-ports-to-ignore=1-65535":       {`--outbound-ports-to-ignore "1-65535" has every port: nothing outbound is captured`},
		"--subnets-to-ignore=0.0.0.0/0":            {`--subnets-to-ignore "0.0.0.0/0" has every address of IPv4: nothing inbound in IPv4 is captured`},
		"--subnets-to-ignore=10.0.0.0":             {"--subnets-to-ignore \"10.0.0.0\" has 10.0.0.0, which is one address\nhint: a network has a length, such as 10.0.0.0/8"},
		"--subnets-to-ignore=fd00::/8 --ipv6=off":  {`--subnets-to-ignore "fd00::/8" has IPv6 addresses, which have no effect with --ipv6 "off"`},
		"--outbound-subnets-to-ignore=0.0.0.0/0":   {`--outbound-subnets-to-ignore "0.0.0.0/0" has every address of IPv4: nothing outbound in IPv4 is captured`},
		"--excluded-cidrs=10.0.0.0":                {"--excluded-cidrs \"10.0.0.0\" has 10.0.0.0, which is one address\nhint: a network has a length, such as 10.0.0.0/8"},
		"--excluded-cidrs=fd00::/8 --ipv6=off":     {`--excluded-cidrs "fd00::/8" has IPv6 addresses, which have no effect with --ipv6 "off"`},
		"--included-ports= --excluded-ports=80":    {`--excluded-ports "80" has no effect: nothing inbound is captured`},
		"--included-ports= --subnets-to-ignore=::": {`--subnets-to-ignore "::" has no effect: nothing inbound is captured`, "--subnets-to-ignore \"::\" has ::, which is one address\nhint: a network has a length, such as ::/0"},
		"--proxy-uid=0 --proxy-gid=0": {`--proxy-uid "0" names the user root: all that root sends goes past the proxy` + hint,
			`--proxy-gid "0" names the group root: all that root sends goes past the proxy` + hint},
		"-p 4140": {`--inbound-port "4140" makes inbound and outbound port the same: the proxy cannot tell the directions apart`},
	} {
		_, got, err := policytest.Read(t, new(Options), strings.Fields(args), config.Sources{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, want (-), got (+):\n%s", args, err, diff)
		}
	}
}

// The annotation that the injector writes says that a pod has a proxy. Nothing says who writes
// the rules, so the plugin does.
func TestDecide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		notes map[string]string
		want  bool
	}{
		{map[string]string{"linkerd.io/proxy-version": "edge-26.7.1"}, true},
		{map[string]string{"linkerd.io/proxy-version": ""}, true},
		{map[string]string{"linkerd.io/inject": "enabled", "config.linkerd.io/skip-inbound-ports": "80"}, false},
		{map[string]string{"sidecar.istio.io/status": "{}"}, false},
		{nil, false},
	} {
		got, err := (Policy{}).Decide(test.notes)
		if err != nil || got.Captured != test.want || got.By != capture.Plugin || got.Why == "" {
			t.Errorf("%q: got %+v, %v", test.notes, got, err)
		}
	}
}

// What rules do not say is left to the namespace.
func TestPresume(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		found, want func(*Config)
		commented   bool
	}{
		"IPv4 alone":    {func(c *Config) { c.IPv6 = capture.IPv6Off }, func(*Config) {}, false},
		"both families": {func(c *Config) { c.IPv6 = capture.IPv6On }, func(c *Config) { c.IPv6 = capture.IPv6On }, false},
		"comments":      {func(*Config) {}, func(c *Config) { c.Comments = true }, true},
	} {
		found, want := Default(), Default()
		test.found(&found)
		test.want(&want)
		got := Policy{}.Presume(capture.Recognised{Wanted: found, Commented: test.commented}, nil)
		if diff := diffConfig(got.(Config), want); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
