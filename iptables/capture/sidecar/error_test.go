package sidecar

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables/config"
)

type errorTest struct {
	args []string
	env  []string
	file string
	want []string
}

func errorTests() map[string]errorTest {
	const (
		onePort  = "must be one port, from 1 to 65535"
		ports    = "must be ports such as 80 or 8000-8010, separated by commas; "
		orPorts  = "must be * or ports such as 80 or 8000-8010, separated by commas; "
		cidrs    = "must be addresses or CIDRs such as 10.0.0.0/8 or 2001:db8::1, separated by commas; "
		ifaces   = "must be names of interfaces such as eth1 or docker*, separated by commas; "
		number   = "must be a number from 1 to 4294967295, decimal or hexadecimal (0x539)"
		system   = "must not be 253, 254 or 255: these are the system's routing tables"
		users    = "must be users by name or number, separated by commas; "
		orGroups = "must be * or groups by name or number, separated by commas; "
		loopback = "must be an address or a CIDR within 127.0.0.0/8"
		line     = `must be key="value", quoted as the downward API does it`
	)
	flags := func(args ...string) errorTest { return errorTest{args: args} }
	err := func(test errorTest, want ...string) errorTest {
		test.want = want
		return test
	}
	_, tooMany := ids(MaxIncludedGroups + 1)
	return map[string]errorTest{
		"port is no number": err(flags("-p", "http"), `--outbound-port "http": `+onePort),
		"port 0":            err(flags("--inbound-port=0"), `--inbound-port "0": `+onePort),
		"port too large":    err(flags("--dns-port", "65536"), `--dns-port "65536": `+onePort),
		"port is a range":   err(flags("-e", "1-2"), `--tunnel-port "1-2": `+onePort),
		"port with blank":   err(flags("-e", " 1"), `--tunnel-port " 1": `+onePort),
		"port is empty":     err(flags("-z", ""), `--inbound-port "": `+onePort),
		"port by reference's name": err(flags("--envoy-port", "http"),
			`--envoy-port "http": `+onePort),
		"port by our name after the reference's": err(flags("--envoy-port", "http", "--outbound-port", "https"),
			`--outbound-port "https": `+onePort),

		"ports, one is none":  err(flags("-b", "80,http"), `--included-ports "80,http": `+orPorts+`"http" is not a port or a range of ports`),
		"ports, empty item":   err(flags("-b", "80,,90"), `--included-ports "80,,90": `+orPorts+`"" is an empty item`),
		"ports, several bad":  err(flags("-d", "0,x,80,"), `--excluded-ports "0,x,80,": `+ports+`"0" has port 0, which no connection has, "x" is not a port or a range of ports, "" is an empty item`),
		"ports, range from 0": err(flags("-q", "0-10"), `--included-outbound-ports "0-10": `+ports+`"0-10" has port 0, which no connection has`),
		"ports, reversed":     err(flags("-o", "10-5"), `--excluded-outbound-ports "10-5": `+ports+`"10-5" is not a port or a range of ports`),
		"ports, all excluded": err(flags("-d", "*"), `--excluded-ports "*": `+ports+`"*" cannot be part of a list`),
		"ports, all and one":  err(flags("-b", "*,80"), `--included-ports "*,80": `+orPorts+`"*" cannot be part of a list`),

		"cidr, name":     err(flags("-i", "example.org"), `--included-cidrs "example.org": must be * or `+cidrs[len("must be "):]+`"example.org" is neither`),
		"cidr, too long": err(flags("-x", "10.0.0.0/33"), `--excluded-cidrs "10.0.0.0/33": `+cidrs+`"10.0.0.0/33" is neither`),
		"cidr, mapped":   err(flags("-x", "::ffff:10.0.0.0/104"), `--excluded-cidrs "::ffff:10.0.0.0/104": `+cidrs+`"::ffff:10.0.0.0/104" is IPv4 written as IPv6`),
		"address mapped": err(flags("-x", "::ffff:10.0.0.1"), `--excluded-cidrs "::ffff:10.0.0.1": `+cidrs+`"::ffff:10.0.0.1" is IPv4 written as IPv6`),
		"address, zone":  err(flags("-x", "fe80::1%eth0"), `--excluded-cidrs "fe80::1%eth0": `+cidrs+`"fe80::1%eth0" has a zone`),
		"cidr, zone":     err(flags("-x", "fe80::%eth0/64"), `--excluded-cidrs "fe80::%eth0/64": `+cidrs+`"fe80::%eth0/64" has a zone`),

		"loopback, elsewhere": err(flags("--loopback-cidr=10.0.0.1"), `--loopback-cidr "10.0.0.1": `+loopback),
		"loopback, too wide":  err(flags("--loopback-cidr=127.0.0.0/7"), `--loopback-cidr "127.0.0.0/7": `+loopback),
		"loopback, IPv6":      err(flags("--loopback-cidr=::1"), `--loopback-cidr "::1": `+loopback),
		"loopback, empty":     err(flags("--loopback-cidr="), `--loopback-cidr "": `+loopback),

		"interface, too long":  err(flags("-c", "a234567890123456"), `--excluded-interfaces "a234567890123456": `+ifaces+`"a234567890123456" is longer than 15 bytes`),
		"interface, slash":     err(flags("-c", "a/b"), `--excluded-interfaces "a/b": `+ifaces+`"a/b" has a character that is not allowed, "/"`),
		"interface, blank":     err(flags("-c", "a b"), `--excluded-interfaces "a b": `+ifaces+`"a b" has a character that is not allowed, " "`),
		"interface, dots":      err(flags("-k", ".,.."), `--virtual-interfaces ".,..": `+ifaces+`"." is not a name, ".." is not a name`),
		"interface, every":     err(flags("-k", "+"), `--virtual-interfaces "+": `+ifaces+`"+" would match every interface`),
		"interface, all":       err(flags("-k", "*"), `--virtual-interfaces "*": `+ifaces+`"*" would match every interface`),
		"interface, wild card": err(flags("-c", "eth*0"), `--excluded-interfaces "eth*0": `+ifaces+`"eth*0" has a character that is not allowed, "*"`),
		"interface, newline":   err(flags("-c", "a\n-j"), `--excluded-interfaces "a\n-j": `+ifaces+`"a\n-j" has a character that is not allowed, "\n"`),

		"mark 0":            err(flags("-t", "0"), `--tproxy-mark "0": `+number),
		"mark too large":    err(flags("-t", "4294967296"), `--tproxy-mark "4294967296": `+number),
		"mark with a mask":  err(flags("-t", "0x1/0xf"), `--tproxy-mark "0x1/0xf": `+number),
		"mark is reserved":  err(flags("-t", "0x53a", "-m", "TPROXY"), `--tproxy-mark "0x53a": must not be 1338 in mode TPROXY: the proxy's own traffic has that mark`),
		"table 0":           err(flags("-r", "0"), `--tproxy-table "0": `+number),
		"table by name":     err(flags("-r", "main"), `--tproxy-table "main": `+number),
		"table default":     err(flags("-r", "253"), `--tproxy-table "253": `+system),
		"table main":        err(flags("-r", "0xfe"), `--tproxy-table "0xfe": `+system),
		"table local":       err(flags("-r", "255"), `--tproxy-table "255": `+system),
		"mode":              err(flags("-m", "BANANA"), `--mode "BANANA": must be REDIRECT or TPROXY`),
		"mode in lowercase": err(flags("--istio-inbound-interception-mode=tproxy"), `--istio-inbound-interception-mode "tproxy": must be REDIRECT or TPROXY`),
		"ipv6":              err(flags("--ipv6=yes"), `--ipv6 "yes": must be auto, on or off`),
		"bool":              err(flags("--redirect-dns=on"), `--redirect-dns "on": must be true or false`),
		"bool, empty":       err(flags("--drop-invalid="), `--drop-invalid "": must be true or false`),

		"unknown user":         err(flags("-u", "0,nobody"), `--proxy-uid "0,nobody": `+users+`"nobody" is not a known user: unknown user nobody`),
		"range without an end": err(flags("--excluded-uids", "1000-"), `--excluded-uids "1000-": must be users such as 1000, udp:53:1000 or tcp:8000-8010:1000-1005, separated by commas; "1000-" is not a known user: unknown user `),
		"id too large":         err(flags("-u", "4294967295"), `--proxy-uid "4294967295": `+users+`"4294967295" is more than 4294967294`),
		"negative id":          err(flags("-u", "-1"), `--proxy-uid "-1": `+users+`"-1" is not a known user: unknown user -1`),
		"all users":            err(flags("-u", "*"), `--proxy-uid "*": `+users+`"*" cannot be part of a list`),
		"unknown group":        err(flags("-g", "envoy"), `--proxy-gid "envoy": `+strings.ReplaceAll(users, "user", "group")+`"envoy" is not a known group: unknown group envoy`),
		"no groups":            err(flags("--included-groups="), `--included-groups "": `+orGroups+`the list is empty`),
		"many groups": err(flags("--included-groups="+tooMany),
			`--included-groups "`+tooMany+`": `+orGroups+`the list has 65, but at most 64 are possible`),

		"excluded users": err(flags("--excluded-uids=nobody,icmp:1,udp:x:1,0:1,9-8,:1,4294967295"),
			`--excluded-uids "nobody,icmp:1,udp:x:1,0:1,9-8,:1,4294967295": must be users such as 1000, udp:53:1000 or tcp:8000-8010:1000-1005, separated by commas; `+
				`"nobody" is not a known user: unknown user nobody, "icmp:1" is not a port or a range of ports, "udp:x:1" is not a port or a range of ports, `+
				`"0:1" has port 0, which no connection has, "9-8" has a range that ends before it starts, ":1" is not a port or a range of ports, "4294967295" is more than 4294967294`),

		"variable":             err(errorTest{env: []string{"ISTIO_INBOUND_PORTS=http"}}, `environment variable ISTIO_INBOUND_PORTS "http": `+orPorts+`"http" is not a port or a range of ports`),
		"variable, bool":       err(errorTest{env: []string{"INVALID_DROP=yes"}}, `environment variable INVALID_DROP "yes": must be true or false`),
		"variable, blank":      err(errorTest{env: []string{"MESHTABLES_MODE= "}}, `environment variable MESHTABLES_MODE " ": must be REDIRECT or TPROXY`),
		"variable, ENVOY_USER": err(errorTest{env: []string{"ENVOY_USER=nobody"}}, `environment variable ENVOY_USER "nobody": must be a known user: unknown user nobody`),
		"variables disagree": err(errorTest{env: []string{"ENVOY_PORT=1", "MESHTABLES_OUTBOUND_PORT=2"}},
			`environment variable MESHTABLES_OUTBOUND_PORT "2" and environment variable ENVOY_PORT "1": must be the same, because they are one option`),
		"variables, both bad": err(errorTest{env: []string{"ENVOY_PORT=x", "MESHTABLES_OUTBOUND_PORT=y"}},
			`environment variable MESHTABLES_OUTBOUND_PORT "y": `+onePort, `environment variable ENVOY_PORT "x": `+onePort),

		"annotation":              err(errorTest{file: `sidecar.istio.io/interceptionMode="NONE"`}, `annotation sidecar.istio.io/interceptionMode "NONE": must be REDIRECT or TPROXY`),
		"annotation, empty":       err(errorTest{file: `sidecar.istio.io/interceptionMode=""`}, `annotation sidecar.istio.io/interceptionMode "": must be REDIRECT or TPROXY`),
		"annotation, status port": err(errorTest{file: `status.sidecar.istio.io/port=""`}, `annotation status.sidecar.istio.io/port "": must be one port, from 1 to 65535, or 0 for none`),
		"annotation, excluded":    err(errorTest{file: trafficPrefix + `excludeInboundPorts="*"`}, `annotation traffic.sidecar.istio.io/excludeInboundPorts "*": `+ports+`"*" cannot be part of a list`),
		"annotation file": err(errorTest{file: "a=\"b\"\nc\n\n=\"d\"\ne=f\ng=\"h\nf=\"\\q\"\na=\"b\"\nx y=\"z\"\nz=`z`\n" + strings.Repeat("l", 90)},
			`annotation file, line 2 "c": `+line,
			`annotation file, line 4 "=\"d\"": `+line,
			`annotation file, line 5 "e=f": `+line,
			`annotation file, line 6 "g=\"h": `+line,
			`annotation file, line 7 "f=\"\\q\"": `+line,
			`annotation file, line 8 "a=\"b\"": must not repeat the key a`,
			`annotation file, line 9 "x y=\"z\"": `+line,
			"annotation file, line 10 \"z=`z`\": "+line,
			`annotation file, line 11 "`+strings.Repeat("l", 60)+`...": `+line),

		"dual-stack and off": err(flags("--dual-stack", "--ipv6=off"), `--ipv6 "off" and --dual-stack "true": must not contradict each other`),
		"dual-stack and off in variables": err(errorTest{env: []string{"ISTIO_DUAL_STACK=1", "MESHTABLES_IPV6=off"}},
			`environment variable MESHTABLES_IPV6 "off" and environment variable ISTIO_DUAL_STACK "1": must not contradict each other`),

		"all at once": err(errorTest{
			args: []string{"-p", "http", "-m", "BANANA", "-d", "0", "--ipv6=off", "--dual-stack"},
			env:  []string{"ISTIO_SERVICE_CIDR=x", "ENVOY_USER=nobody", "MESHTABLES_TPROXY_TABLE=254"},
			file: "bad line\n" + trafficPrefix + `excludeInterfaces="."`,
		},
			`annotation file, line 1 "bad line": `+line,
			`--outbound-port "http": `+onePort,
			`--mode "BANANA": must be REDIRECT or TPROXY`,
			`--excluded-ports "0": `+ports+`"0" has port 0, which no connection has`,
			`environment variable ISTIO_SERVICE_CIDR "x": must be * or `+cidrs[len("must be "):]+`"x" is neither`,
			`annotation traffic.sidecar.istio.io/excludeInterfaces ".": `+ifaces+`"." is not a name`,
			`environment variable MESHTABLES_TPROXY_TABLE "254": `+system,
			`environment variable ENVOY_USER "nobody": must be a known user: unknown user nobody`,
			`--ipv6 "off" and --dual-stack "true": must not contradict each other`,
		),
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range errorTests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, warnings, err := read(t, test.args, config.Sources{Env: test.env, Annotations: []byte(test.file)})
			if err == nil {
				t.Fatalf("no error, want %q", test.want)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("wrong errors (-want +got):\n%s", diff)
			}
			if diff := diffConfig(c, Config{}); diff != "" || warnings != nil {
				t.Errorf("with an error there is a Config or a warning: %s%q", diff, warnings)
			}
		})
	}
}

func TestValueError(t *testing.T) {
	t.Parallel()
	_, _, err := read(t, []string{"-p", "http"}, config.Sources{})
	var value *config.ValueError
	if !errors.As(err, &value) || value.Source != "--outbound-port" || value.Value != "http" {
		t.Errorf("error %v is no ValueError of --outbound-port", err)
	}
	_, _, err = read(t, []string{"-u", "nobody"}, config.Sources{Users: failingUsers{}})
	if !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("error %v does not wrap that of Users", err)
	}
}

type failingUsers struct{}

func (failingUsers) UserID(string) (uint32, error)  { return 0, strconv.ErrSyntax }
func (failingUsers) GroupID(string) (uint32, error) { return 0, strconv.ErrSyntax }
