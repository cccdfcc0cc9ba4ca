package recorded

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// AmbientCase is one recorded run of Istio's CNI agent for a pod of ambient mode.
type AmbientCase struct {
	Name string `json:"name"`
	// Side is "pod", or "host" for the rules on the node.
	Side      string         `json:"side"`
	Options   AmbientOptions `json:"options"`
	Addresses []string       `json:"addrs"`
	IPv4      []string       `json:"v4"`
	IPv6      []string       `json:"v6"`
	Rules     []string       `json:"rule"`
	Routes    []string       `json:"route"`
}

// AmbientOptions are the agent's, and what the pod's annotations say.
type AmbientOptions struct {
	IPv6 bool `json:"ipv6"`
	DNS  bool `json:"dns"`
	// PodDNS is "on" or "off", or empty.
	PodDNS            string   `json:"pod_dns"`
	Ingress           bool     `json:"ingress"`
	VirtualInterfaces []string `json:"virtual_interfaces"`
	Probe4            string   `json:"probe4"`
	Probe6            string   `json:"probe6"`
}

// AmbientPods returns the recorded runs inside a pod.
func AmbientPods(t testing.TB) []AmbientCase {
	t.Helper()
	return slices.DeleteFunc(casesIn[AmbientCase](t, "ambient.jsonl"), func(c AmbientCase) bool { return c.Side != "pod" })
}

// AmbientHosts returns the recorded runs on a node.
func AmbientHosts(t testing.TB) []AmbientCase {
	t.Helper()
	return slices.DeleteFunc(casesIn[AmbientCase](t, "ambient.jsonl"), func(c AmbientCase) bool { return c.Side != "host" })
}

// Args returns the arguments that ask for what the agent was configured to do.
func (c *AmbientCase) Args() []string {
	args := []string{"--ipv6=" + map[bool]string{true: "on", false: "off"}[c.Options.IPv6]}
	if c.Options.DNS {
		args = append(args, "--redirect-dns")
	}
	if c.Options.Probe4 != "" {
		args = append(args, "--host-probe-address="+c.Options.Probe4+","+c.Options.Probe6)
	}
	return args
}

// Annotations returns the pod's annotations, as the downward API writes them.
func (c *AmbientCase) Annotations() string {
	text := "ambient.istio.io/redirection=\"enabled\"\n"
	if c.Options.PodDNS != "" {
		text += fmt.Sprintf("ambient.istio.io/dns-capture=\"%t\"\n", c.Options.PodDNS == "on")
	}
	if c.Options.Ingress {
		text += "ambient.istio.io/bypass-inbound-capture=\"true\"\n"
	}
	if names := c.Options.VirtualInterfaces; names != nil {
		text += fmt.Sprintf("istio.io/reroute-virtual-interfaces=%q\n", strings.Join(names, ","))
	}
	return text
}

// Config returns the configuration of the arguments and the annotations.
func (c *AmbientCase) Config(t testing.TB) ambient.Config {
	t.Helper()
	return ParseAmbient(t, c.Annotations(), c.Args()...)
}

// ParseAmbient returns the configuration of arguments and annotations.
func ParseAmbient(t testing.TB, annotations string, args ...string) ambient.Config {
	t.Helper()
	return read(t, new(ambient.Options), config.Sources{Annotations: []byte(annotations)}, args)
}

// Host returns the host data of the namespace that the agent ran in.
func (c *AmbientCase) Host() host.Host {
	var h host.Host
	for _, a := range c.Addresses {
		h.Addresses = append(h.Addresses, netip.MustParsePrefix(a))
	}
	return h
}

// Ruleset returns the kernel's rules, without the tables in which nothing was written.
func (c *AmbientCase) Ruleset(t testing.TB) iptables.Ruleset {
	t.Helper()
	return ruleset(t, c.Name, c.IPv4, c.IPv6)
}
