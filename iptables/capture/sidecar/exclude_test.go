package sidecar_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// Excluded clients come before ports, also before listed ones: exclusion wins.
func TestExcludedSources(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		table string
		want  []string
	}{
		"REDIRECT": {nil, iptables.Nat, []string{
			"-p tcp -m tcp --dport 15008 -j RETURN # --tunnel-port=15008",
			"-s 10.0.0.0/8 -p tcp -j RETURN # --excluded-source-cidrs=10.0.0.0/8",
			"-p tcp -m tcp --dport 22 -j RETURN # --excluded-ports=22",
			"-p tcp -j ISTIO_IN_REDIRECT # --included-ports=*",
		}},
		"listed ports": {[]string{"--included-ports=80"}, iptables.Nat, []string{
			"-p tcp -m tcp --dport 15008 -j RETURN # --tunnel-port=15008",
			"-s 10.0.0.0/8 -p tcp -j RETURN # --excluded-source-cidrs=10.0.0.0/8",
			"-p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT # --included-ports=80",
		}},
		"TPROXY": {[]string{"--mode=TPROXY"}, iptables.Mangle, []string{
			"-p tcp -m mark --mark 0x539 -j RETURN # --tproxy-mark=1337",
			"-s 127.0.0.6/32 -i lo -p tcp -j RETURN # built-in (passthrough source)",
			"-i lo -p tcp -m mark ! --mark 0x53a -j RETURN # built-in (loopback)",
			"-s 10.0.0.0/8 -p tcp -j RETURN # --excluded-source-cidrs=10.0.0.0/8",
			"-p tcp -m tcp --dport 22 -j RETURN # --excluded-ports=22",
			"-p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT # --included-ports=*",
			"-p tcp -j ISTIO_TPROXY # --included-ports=*",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(test.args, "--excluded-source-cidrs=10.0.0.0/8,fd00::/8", "--excluded-ports=22")
			got := rules(planArgs(t, nil, args...), iptables.IPv4, test.table, "ISTIO_INBOUND")
			if !slices.Equal(got, test.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestExcludedUsers(t *testing.T) {
	c := planArgs(t, []string{"10.96.0.10"}, "--redirect-dns", "--included-groups=5",
		"--excluded-uids=1000,udp:53:1001,8000-8010:1002-1009,tcp:7")
	var got []string
	for _, line := range rules(c, iptables.IPv4, iptables.Nat, "ISTIO_OUTPUT") {
		if strings.Contains(line, "excluded-uids") || strings.Contains(line, "groups") || strings.Contains(line, "DNS") {
			got = append(got, line)
		}
	}
	want := []string{
		"-m owner --uid-owner 1000 -j RETURN # --excluded-uids=1000",
		"-p udp -m udp --dport 53 -m owner --uid-owner 1001 -j RETURN # --excluded-uids=udp:53:1001",
		"-p tcp -m tcp --dport 8000:8010 -m owner --uid-owner 1002-1009 -j RETURN # --excluded-uids=8000-8010:1002-1009",
		"-p udp -m udp --dport 8000:8010 -m owner --uid-owner 1002-1009 -j RETURN # --excluded-uids=8000-8010:1002-1009",
		"-p tcp -m owner --uid-owner 7 -j RETURN # --excluded-uids=tcp:7",
		"-m owner ! --gid-owner 5 -j RETURN # --included-groups=5",
		"-j ISTIO_OUTPUT_DNS # --redirect-dns",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got = slices.DeleteFunc(rules(c, iptables.IPv4, iptables.Raw, "ISTIO_OUTPUT_DNS"), func(line string) bool {
		return !strings.Contains(line, "excluded-uids")
	})
	want = []string{
		"-p udp -m udp --dport 53 -m owner --uid-owner 1000 -j CT --zone 1 # --excluded-uids=1000",
		"-p udp -m udp --dport 53 -m owner --uid-owner 1001 -j CT --zone 1 # --excluded-uids=udp:53:1001",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What comes in by an excluded interface is left alone, invalid or not, in every mode.
func TestInvalidOnExcludedInterfaces(t *testing.T) {
	for _, mode := range []string{"REDIRECT", "TPROXY"} {
		for _, f := range iptables.Families() {
			c := planArgs(t, nil, "--mode="+mode, "--drop-invalid", "--excluded-interfaces=net1,tap+", "--ipv6=on")
			want := []string{
				"-i net1 -j RETURN # --excluded-interfaces=net1",
				"-i tap+ -j RETURN # --excluded-interfaces=tap+",
				"-j DROP # --drop-invalid",
			}
			if got := rules(c, f, iptables.Mangle, "ISTIO_DROP"); !slices.Equal(got, want) {
				t.Errorf("%s, %s: got:\n%s\nwant:\n%s", mode, f, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}
