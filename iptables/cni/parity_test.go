package cni

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestPacketsFareAsWithTheReference adds each pod that Istio's plugin was recorded with, told
// by annotations what that read from an API server. Every packet fares alike, except some to
// the status port.
func TestPacketsFareAsWithTheReference(t *testing.T) {
	for i, c := range recorded.PluginCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			p := newTestPod(t, c.Addresses...)
			p.annotations, p.keys = annotationsOf(t, &c), settingsOf(t, &c)
			err := p.add(t)
			if c.ExitStatus != 0 {
				wantRefused(t, p, err, c.Refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			likeTheInjector(&c)
			want, installed := c.Ruleset(t), p.saved(t)
			for _, f := range iptables.Families() {
				values := packettest.ValuesOf(f, &want, &installed)
				random := rand.New(rand.NewPCG(20261130, uint64(i)))
				for range soak.Times(1500, 6000) {
					packet := values.Packet(random)
					a, b := explain.Walk(&want, packet), explain.Walk(&installed, packet)
					if packettest.Fate(a) != packettest.Fate(b) {
						t.Fatalf("%+v (owner %+v)\nrecorded: %s\n%s\ninstalled: %s\n%s", packet, packet.Owner,
							packettest.Fate(a), packettest.Path(a), packettest.Fate(b), packettest.Path(b))
					}
				}
			}
			if got := strings.Count(p.run(t, "ip", "rule"), "lookup 133"); got != len(c.Rules) {
				t.Errorf("%d ip rules, recorded are %d", got, len(c.Rules))
			}
		})
	}
}

// annotationsOf tells by the pod's annotations what is in the environment of its proxy.
func annotationsOf(t *testing.T, c *recorded.PluginCase) map[string]string {
	t.Helper()
	notes := maps.Clone(c.Annotations)
	if len(c.ProxyEnv) > 0 {
		settings, err := json.Marshal(map[string]any{"proxyMetadata": c.ProxyEnv})
		if err != nil {
			t.Fatal(err)
		}
		notes["proxy.istio.io/config"] = string(settings)
	}
	return notes
}

// settingsOf tells by the mesh's settings what no annotation says. The reference takes user 0
// for one that is not set.
func settingsOf(t *testing.T, c *recorded.PluginCase) string {
	t.Helper()
	options := make(map[string]uint32)
	if c.ProxyUID != nil && *c.ProxyUID != 0 {
		options["proxy-uid"] = *c.ProxyUID
	}
	if c.ProxyGID != nil {
		options["proxy-gid"] = *c.ProxyGID
	}
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`"options": %s`, text)
}

// wantRefused checks that the plugin refuses what the reference refused, and says which value
// it is.
func wantRefused(t *testing.T, p *testPod, err error, theirs string) {
	t.Helper()
	if err == nil {
		t.Fatalf("applied, but the reference said: %s", theirs)
	}
	var named bool
	for key, value := range p.annotations {
		named = named || strings.Contains(err.Error(), fmt.Sprintf("annotation %s %q: must be", key, value))
	}
	if !named || objectOf(t, err).Code != codeAnnotations || p.rules(t) != "" {
		t.Errorf("got %v\n%s", err, p.rules(t))
	}
}

// saved returns the rules in the pod, as iptables prints them.
func (p *testPod) saved(t *testing.T) iptables.Ruleset {
	t.Helper()
	var rs iptables.Ruleset
	for f, program := range map[iptables.Family]string{iptables.IPv4: "iptables-nft-save", iptables.IPv6: "ip6tables-nft-save"} {
		tables, err := iptables.ParseSave(f, strings.NewReader(p.run(t, program)))
		if err != nil {
			t.Fatal(err)
		}
		rs.Tables = append(rs.Tables, tables...)
	}
	rs.Sort()
	return rs
}

// likeTheInjector changes what was recorded in the one point in which the reference's plugin
// is not like its injector: the port of the agent's health checks. The plugin leaves 15020
// alone in both directions, unless an annotation excludes other outbound ports, and does not
// read the annotation that moves it.
func likeTheInjector(c *recorded.PluginCase) {
	for _, lines := range []*[]string{&c.IPv4, &c.IPv6} {
		*lines = slices.DeleteFunc(slices.Clone(*lines), func(line string) bool {
			return strings.HasPrefix(line, "-A ISTIO_OUTPUT ") && strings.HasSuffix(line, " --dport 15020 -j RETURN")
		})
		for i, line := range *lines {
			if port := c.Annotations["status.sidecar.istio.io/port"]; port != "" && strings.HasPrefix(line, "-A ISTIO_INBOUND ") {
				(*lines)[i] = strings.ReplaceAll(line, "--dport 15020 ", "--dport "+port+" ")
			}
		}
	}
}

// A pod with an address of another family than those that are recorded is captured there too,
// as by the init container.
func TestBothFamilies(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24", "fd00:10:244::7/64")
	p.annotations = map[string]string{"sidecar.istio.io/status": "{}"}
	if err := p.add(t); err != nil {
		t.Fatal(err)
	}
	for _, f := range iptables.Families() {
		rs := p.saved(t)
		packet := iptables.Packet{
			Hook: iptables.Prerouting, Protocol: iptables.TCP, In: "eth0", State: iptables.StateNew,
			Source: netip.MustParseAddr(map[iptables.Family]string{iptables.IPv4: "10.0.0.1", iptables.IPv6: "fd00::1"}[f]), SourcePort: 40000,
			Destination: netip.MustParseAddr(map[iptables.Family]string{iptables.IPv4: "10.244.1.7", iptables.IPv6: "fd00:10:244::7"}[f]), DestinationPort: 80,
		}
		if r := explain.Walk(&rs, packet); r.Port != 15006 {
			t.Errorf("%s: %s", f, packettest.Fate(r))
		}
	}
}
