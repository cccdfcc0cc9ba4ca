package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

func TestAssumed(t *testing.T) {
	t.Parallel()
	uid := uint32(1000)
	pod := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.244.1.7/24")}
	to := netip.MustParseAddrPort("203.0.113.10:443")
	own := netip.MustParseAddrPort("10.244.1.7:443")
	nowhere := netip.AddrPortFrom(netip.Addr{}, 443)
	for name, test := range map[string]struct {
		question  question
		addresses []netip.Prefix
		want      string
	}{
		"in":            {question{inbound: true, to: own}, pod, "--from, --in-interface"},
		"in, own":       {question{inbound: true, to: nowhere}, pod, "--from, --in-interface"},
		"in, unknown":   {question{inbound: true, to: nowhere}, nil, "ADDRESS, --from, --in-interface"},
		"in, no port":   {question{inbound: true, to: own, from: netip.AddrPortFrom(to.Addr(), 0)}, pod, "port of --from, --in-interface"},
		"in, all said":  {question{inbound: true, to: own, from: to, options: explainOptions{in: "eth0"}}, pod, ""},
		"out":           {question{to: to}, pod, "--from, --uid, --gid, --out-interface"},
		"out, user":     {question{to: to, uid: &uid}, pod, "--from, --gid, --out-interface"},
		"out, all said": {question{to: to, from: own, uid: &uid, gid: &uid, options: explainOptions{out: "eth0"}}, pod, ""},
		// The kernel takes lo to an address of its own, and that address.
		"out, own":      {question{to: own, uid: &uid}, pod, "port of --from, --gid"},
		"out, loopback": {question{to: netip.MustParseAddrPort("127.0.0.2:80"), uid: &uid}, nil, "port of --from, --gid"},
	} {
		t.Run(name, func(t *testing.T) {
			path := new(installed.Path)
			p := test.question.packet(iptables.IPv4, test.addresses, path)
			if diff := cmp.Diff(test.want, strings.Join(test.question.assumed(&p, test.addresses, path), ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
