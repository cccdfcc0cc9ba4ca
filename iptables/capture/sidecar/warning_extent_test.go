package sidecar

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

func extentTests() map[string]warningTest {
	const (
		root   = ": all that root sends goes past the proxy\nhint: run the proxy as a user or group of its own, such as 1337"
		length = ", which is one address\nhint: a network has a length, such as "
	)
	return map[string]warningTest{
		"the proxy is root": {args: []string{"-u", "0"}, want: []string{`--proxy-uid "0" names the user root` + root}},
		"the proxy is also root": {args: []string{"-u", "1337,0", "-g", "0"},
			want: []string{`--proxy-uid "1337,0" names the user root` + root, `--proxy-gid "0" names the group root` + root}},
		"the proxy is root by variable": {env: []string{"ENVOY_USER=root"},
			want: []string{`environment variable ENVOY_USER "root" names the user root` + root}},
		"the proxy is root, with a group of its own": {args: []string{"-u", "root", "-g", "1337"},
			want: []string{`--proxy-uid "root" names the user root` + root}},

		"every destination": {args: []string{"-x", "0.0.0.0/0"},
			want: []string{`--excluded-cidrs "0.0.0.0/0" has every address of IPv4: nothing outbound in IPv4 is captured`}},
		"every destination but DNS": {args: []string{"-x", "10.0.0.0/8,::/0", "--redirect-dns"},
			want: []string{`--excluded-cidrs "10.0.0.0/8,::/0" has every address of IPv6: nothing outbound but DNS in IPv6 is captured`}},
		"every destination, in parts": {args: []string{"-x", "0.0.0.0/1,128.0.0.0/1,8000::/1,::/1"},
			want: []string{`--excluded-cidrs "0.0.0.0/1,128.0.0.0/1,8000::/1,::/1" has every address of IPv4 and IPv6: nothing outbound in IPv4 and IPv6 is captured`}},
		"nearly every destination":             {args: []string{"-x", "0.0.0.0/1,128.0.0.0/2"}},
		"every destination for a machine":      {args: []string{"-x", "0.0.0.0/0", "-k", "tap0"}},
		"every destination of IPv6, IPv4 only": {args: []string{"-x", "::/0", "--ipv6=off"}, want: []string{`--excluded-cidrs "::/0" has IPv6 addresses, which have no effect with --ipv6 "off"`}},
		"all included destinations": {args: []string{"-i", "10.0.0.0/8,fd00::/16", "-x", "10.0.0.0/9,10.128.0.0/9,fd00::/8"},
			want: []string{`--excluded-cidrs "10.0.0.0/9,10.128.0.0/9,fd00::/8" has all of --included-cidrs "10.0.0.0/8,fd00::/16": nothing outbound is captured`}},
		"some included destinations":           {args: []string{"-i", "10.0.0.0/8,fd00::/16", "-x", "10.0.0.0/8"}},
		"all included destinations, and ports": {args: []string{"-i", "10.0.0.0/8", "-x", "10.0.0.0/8", "-q", "80"}},
		"every client": {args: []string{"--excluded-source-cidrs=::/0"},
			want: []string{`--excluded-source-cidrs "::/0" has every address of IPv6: nothing inbound in IPv6 is captured`}},
		"every client of no port": {args: []string{"--excluded-source-cidrs=0.0.0.0/0", "-b", ""},
			want: []string{`--excluded-source-cidrs "0.0.0.0/0" has no effect: nothing inbound is captured`}},
		"more than every destination": {args: []string{"-i", "10.0.0.0/8,0.0.0.0/0,fd00::/8,192.168.0.0/16"},
			want: []string{`--included-cidrs "10.0.0.0/8,0.0.0.0/0,fd00::/8,192.168.0.0/16" has 0.0.0.0/0, so 10.0.0.0/8,192.168.0.0/16 in it has no effect`}},
		"no more than every destination": {args: []string{"-i", "0.0.0.0/0,::/0"}},

		"every outbound port": {args: []string{"-o", "1-65535"},
			want: []string{`--excluded-outbound-ports "1-65535" has every port: nothing outbound is captured`}},
		"every outbound port, in parts, DNS only": {args: []string{"-o", "80-65535,1:100", "-i", "", "--redirect-dns"},
			want: []string{`--excluded-outbound-ports "80-65535,1:100" has every port: nothing outbound is captured`}},
		"nearly every outbound port": {args: []string{"-o", "1-79,81-65535"}},
		"every inbound port": {env: []string{"ISTIO_LOCAL_EXCLUDE_PORTS=1:65535"},
			want: []string{`environment variable ISTIO_LOCAL_EXCLUDE_PORTS "1:65535" has every port: nothing inbound is captured`}},
		"every inbound port beside a list": {args: []string{"-d", "1-65535", "-b", "80"},
			want: []string{`--excluded-ports "1-65535" has no effect with --included-ports "80"`}},

		"everybody": {args: []string{"--excluded-uids=1000,udp:0,tcp:1-4294967294,1-65535:0"},
			want: []string{`--excluded-uids "1000,udp:0,tcp:1-4294967294,1-65535:0" has every user: no outbound connection is captured`}},
		"everybody but root":   {args: []string{"--excluded-uids=1-4294967294"}},
		"everybody, DNS only":  {args: []string{"--excluded-uids=udp:53:0-4294967294", "--redirect-dns"}},
		"everybody, one port":  {args: []string{"--excluded-uids=80:0-4294967294"}},
		"nothing to be exempt": {args: []string{"-i", "", "-x", "0.0.0.0/0"}, want: []string{`--excluded-cidrs "0.0.0.0/0" has no effect: nothing outbound is captured`}},

		"networks without length": {args: []string{"-i", "10.0.0.0,10.1.2.3,2001:db8::", "-x", " 172.16.0.0 ,10.0.0.0/8", "--excluded-source-cidrs=192.168.1.0,fd00:1:2:3::"},
			want: []string{
				`--included-cidrs "10.0.0.0,10.1.2.3,2001:db8::" has 10.0.0.0` + length + "10.0.0.0/8",
				`--included-cidrs "10.0.0.0,10.1.2.3,2001:db8::" has 2001:db8::` + length + "2001:db8::/32",
				`--excluded-cidrs " 172.16.0.0 ,10.0.0.0/8" has 172.16.0.0` + length + "172.16.0.0/16",
				`--excluded-source-cidrs "192.168.1.0,fd00:1:2:3::" has 192.168.1.0` + length + "192.168.1.0/24",
				`--excluded-source-cidrs "192.168.1.0,fd00:1:2:3::" has fd00:1:2:3::` + length + "fd00:1:2:3::/64"}},
		"every address without length": {args: []string{"-x", "0.0.0.0,::"},
			want: []string{`--excluded-cidrs "0.0.0.0,::" has 0.0.0.0` + length + "0.0.0.0/0", `--excluded-cidrs "0.0.0.0,::" has ::` + length + "::/0"}},
		"loopback without length": {args: []string{"--loopback-cidr=127.0.0.0"},
			want: []string{`--loopback-cidr "127.0.0.0" has 127.0.0.0` + length + "127.0.0.0/8"}},
		"one address": {args: []string{"-i", "10.0.0.0/32,10.0.0.1,2001:db8::1", "-x", "2001:db8:1:2:3::"}},
	}
}

// What exempts everything, or somebody that is not the proxy, is told. The same with less
// is not.
func TestExtentWarnings(t *testing.T) {
	t.Parallel()
	wantWarnings(t, extentTests())
}

// Whether an interface, or a family, is all that there is depends on the namespace.
func TestExtentOfNamespace(t *testing.T) {
	t.Parallel()
	const (
		every = "--excluded-interfaces has every interface that is up (%): nothing from or to other machines is captured"
		lacks = "--included-cidrs has %: nothing outbound in & is captured\nhint: * has every address of both families"
	)
	const uplink = "--virtual-interfaces has %, by which the default route leads to other machines: " +
		"connections from them are taken for outbound ones, and nothing by it is captured as inbound"
	both := []netip.Prefix{netip.MustParsePrefix("10.244.1.7/24"), netip.MustParsePrefix("fd00::7/64")}
	for _, test := range []struct {
		args, interfaces string
		addresses        []netip.Prefix
		want             string
	}{
		{args: "-k docker+,eth0", interfaces: "eth0! docker0", want: strings.ReplaceAll(uplink, "%", "eth0")},
		{args: "-k e*", interfaces: "eth0! eth1! net1!", want: strings.ReplaceAll(uplink, "%", "eth0, eth1")},
		{args: "-k eth1", interfaces: "eth0! eth1"},
		{args: "-k auto", interfaces: "tap0! eth0"},
		{args: "-k auto,tap0", interfaces: "tap0! eth0", want: strings.ReplaceAll(uplink, "%", "tap0")},
		{args: "-c eth0", interfaces: "eth0", want: strings.ReplaceAll(every, "%", "eth0")},
		{args: "-c eth+", interfaces: "eth0 eth1", want: strings.ReplaceAll(every, "%", "eth0, eth1")},
		{args: "-c net1,e+", interfaces: "net1 eth0", want: strings.ReplaceAll(every, "%", "net1, eth0")},
		{args: "-c eth0", interfaces: "eth0 net1"},
		{args: "-c eth", interfaces: "eth0"},
		{args: "-c eth0", interfaces: "eth"},
		{args: "-c eth0"},
		{args: "-c lo", interfaces: "eth0"},
		{args: "-i 0.0.0.0/0", addresses: both, want: strings.NewReplacer("%", "0.0.0.0/0 and nothing of IPv6", "&", "IPv6").Replace(lacks)},
		{args: "-i ::/0", addresses: both, want: strings.NewReplacer("%", "::/0 and nothing of IPv4", "&", "IPv4").Replace(lacks)},
		{args: "-i ::/0", addresses: both[:1], want: strings.NewReplacer("%", "::/0 and nothing of IPv4", "&", "IPv4").Replace(lacks) +
			"|::/0 has no effect: the namespace has no global IPv6 address, so IPv6 is not captured (--ipv6=on captures it anyway)"},
		{args: "-i 0.0.0.0/0", addresses: both[:1]},
		{args: "-i 0.0.0.0/0 --ipv6=off", addresses: both},
		{args: "-i 0.0.0.0/0,fd00::/8", addresses: both},
		{args: "-i 0.0.0.0/0 -q 80", addresses: both},
		{args: "-i 10.0.0.0/8", addresses: both},
	} {
		c, _, err := read(t, strings.Fields(test.args), config.Sources{})
		if err != nil {
			t.Fatal(err)
		}
		h := host.Host{Addresses: test.addresses}
		for _, name := range strings.Fields(test.interfaces) {
			name, uplink := strings.CutSuffix(name, "!")
			h.Interfaces = append(h.Interfaces, host.Interface{Name: name, Up: true, Uplink: uplink})
		}
		plan := c.Plan(h)
		if diff := cmp.Diff(test.want, strings.Join(plan.Warnings, "|")); diff != "" {
			t.Errorf("%s, interfaces %q: %s", test.args, test.interfaces, diff)
		}
	}
}
