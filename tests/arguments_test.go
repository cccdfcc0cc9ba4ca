package tests

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// arguments makes up valid arguments. The same seed makes the same ones.
type arguments struct{ *rand.Rand }

func newArguments(seed, number uint64) arguments {
	return arguments{rand.New(rand.NewPCG(seed, number))}
}

// generate returns some of the capture options with values of all forms.
func (a arguments) generate() []string {
	var args []string
	for _, o := range []struct {
		name  string
		value func() string
	}{
		{"--outbound-port", a.port},
		{"--inbound-port", a.port},
		{"--tunnel-port", a.port},
		{"--proxy-uid", a.list(a.id, 1, 3)},
		{"--proxy-gid", a.list(a.id, 1, 3)},
		{"--mode", a.oneOf("REDIRECT", "TPROXY", "TPROXY")},
		{"--included-ports", a.all(a.list(a.ports, 0, 4))},
		{"--excluded-ports", a.list(a.ports, 0, 4)},
		{"--included-outbound-ports", a.list(a.ports, 0, 3)},
		{"--excluded-outbound-ports", a.list(a.ports, 0, 3)},
		{"--included-cidrs", a.all(a.list(a.cidr, 0, 4))},
		{"--excluded-cidrs", a.list(a.cidr, 0, 4)},
		{"--excluded-source-cidrs", a.list(a.cidr, 0, 3)},
		{"--excluded-uids", a.list(a.userTraffic, 0, 3)},
		{"--excluded-interfaces", a.list(a.interfaceName, 0, 2)},
		{"--virtual-interfaces", a.list(a.interfaceName, 0, 2)},
		{"--tproxy-mark", a.mark},
		{"--tproxy-table", func() string { return strconv.Itoa(1000 + a.IntN(1<<20)) }},
		{"--redirect-dns", a.oneOf("true", "true", "false")},
		{"--capture-all-dns", a.oneOf("true", "false")},
		{"--dns-port", a.port},
		{"--redirect-virtual-dns", a.oneOf("true", "false")},
		{"--included-groups", a.all(a.list(a.id, 1, 3))},
		{"--excluded-groups", a.list(a.id, 0, 3)},
		{"--loopback-cidr", a.oneOf("127.0.0.1/32", "127.0.0.0/8", "127.1.0.0/16")},
		{"--drop-invalid", a.oneOf("true", "false")},
		{"--ipv6", a.oneOf("auto", "on", "off")},
		{"--comments", a.oneOf("true", "false")},
	} {
		if a.IntN(2) == 0 {
			args = append(args, o.name+"="+o.value())
		}
	}
	return args
}

// generateAmbient is generate for ambient mode.
func (a arguments) generateAmbient() []string {
	ofSidecars := []string{"proxy-uid", "proxy-gid", "mode", "excluded-uids", "tproxy", "capture-all-dns", "included-groups", "excluded-groups", "loopback-cidr", "drop-invalid"}
	args := slices.DeleteFunc(a.generate(), func(arg string) bool {
		return slices.ContainsFunc(ofSidecars, func(name string) bool { return strings.HasPrefix(arg, "--"+name) })
	})
	args = append(args, "--dataplane-mode=ambient")
	if a.IntN(3) == 0 {
		args = append(args, fmt.Sprintf("--proxy-mark=%#x/0xfff", 1+a.IntN(0x100)), fmt.Sprintf("--connection-mark=%#x/0xfff", 0x200+a.IntN(0x100)))
	}
	if a.IntN(3) == 0 {
		args = append(args, "--host-probe-address=10.9.9.9,fd00:9::9", "--routing-table="+strconv.Itoa(1000+a.IntN(1<<20)))
	}
	return args
}

// generateLinkerd is generate for Linkerd's sidecars.
func (a arguments) generateLinkerd() []string {
	own := []string{
		"outbound-port", "inbound-port", "proxy-uid", "proxy-gid", "included-ports", "excluded-ports", "excluded-outbound-ports",
		"excluded-source-cidrs", "ipv6", "comments",
	}
	args := slices.DeleteFunc(a.generate(), func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		return !slices.Contains(own, name)
	})
	if a.IntN(3) == 0 {
		// More than a rule of iptables takes.
		args = append(args, "--inbound-ports-to-ignore="+a.list(a.ports, 14, 18)(), "--outbound-ports-to-ignore="+a.list(a.ports, 14, 18)())
	}
	return append(args, "--mesh=linkerd")
}

func (a arguments) oneOf(values ...string) func() string {
	return func() string { return values[a.IntN(len(values))] }
}

// list returns from least to most values.
func (a arguments) list(value func() string, least, most int) func() string {
	return func() string {
		words := make([]string, least+a.IntN(most-least+1))
		for i := range words {
			words[i] = value()
		}
		return strings.Join(words, ",")
	}
}

// all returns "*" as often as the list.
func (a arguments) all(list func() string) func() string {
	return func() string {
		if a.IntN(2) == 0 {
			return "*"
		}
		return list()
	}
}

func (a arguments) port() string { return strconv.Itoa(1 + a.IntN(65535)) }

func (a arguments) ports() string {
	first := 1 + a.IntN(65535)
	last := first + a.IntN(65536-first)
	return a.oneOf(strconv.Itoa(first), fmt.Sprintf("%d-%d", first, last), fmt.Sprintf("%d:%d", first, last))()
}

// id is below 2^32-1, which is nobody's.
func (a arguments) id() string {
	return a.oneOf("0", "1337", strconv.Itoa(a.IntN(70000)), "4294967294")()
}

func (a arguments) userTraffic() string {
	first := a.IntN(70000)
	who := a.oneOf(strconv.Itoa(first), fmt.Sprintf("%d-%d", first, first+a.IntN(1000)))()
	return a.oneOf("", "tcp:", "udp:")() + a.oneOf("", a.ports()+":")() + who
}

func (a arguments) cidr() string {
	v4 := fmt.Sprintf("%d.%d.%d.%d", 1+a.IntN(223), a.IntN(256), a.IntN(256), a.IntN(256))
	v6 := fmt.Sprintf("2001:db8:%x::%x", a.IntN(1<<16), a.IntN(1<<16))
	return a.oneOf(v4, v4+"/"+strconv.Itoa(1+a.IntN(32)), v6, v6+"/"+strconv.Itoa(1+a.IntN(128)), "127.0.0.6", "::1", "0.0.0.0/0", "::/0")()
}

func (a arguments) interfaceName() string {
	return a.oneOf("eth1", "virbr+", "net1.100", "a-long-name-123", "docker*", "auto")()
}

// mark is none of those that the proxy's own traffic has.
func (a arguments) mark() string {
	return a.oneOf("1", "1337", "0xdeadbeef", strconv.Itoa(2000+a.IntN(1<<30)))()
}
