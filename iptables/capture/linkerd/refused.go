package linkerd

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Why options of Istio's policies are refused.
const (
	noOutbound   = "has no meaning for Linkerd: all outbound connections are captured, but for those left out (--excluded-outbound-ports, --excluded-cidrs)"
	noTunnel     = "has no meaning for Linkerd: its proxy takes all inbound connections at one port"
	noOwners     = "has no meaning for Linkerd: its rules know no users and groups but the proxy's"
	noTProxy     = "has no meaning for Linkerd: connections get to its proxy by REDIRECT"
	noInterfaces = "has no meaning for Linkerd: its rules know no interface but loopback"
	noDNS        = "has no meaning for Linkerd: its proxy answers no DNS queries"
	isFixed      = "has no meaning for Linkerd: the pod itself is what goes out by loopback"
	noDrop       = "has no meaning for Linkerd: its rules drop nothing"
)

// refusedRows are options that ask for what this policy cannot do. Their letters are those of
// others here, or of none.
func refusedRows() []config.Row {
	refuse := func(name, letter, why string) config.Row {
		return config.Refuse(config.Option{Name: name, Letter: letter}, why)
	}
	refuseSwitch := func(name, why string) config.Row { return config.RefuseSwitch(config.Option{Name: name}, why) }
	return []config.Row{
		refuse("tunnel-port", "e", noTunnel),
		refuse("mode", "m", noTProxy),
		refuse("tproxy-mark", "t", noTProxy),
		refuse("tproxy-table", "", noTProxy),
		refuse("included-outbound-ports", "q", noOutbound),
		refuse("included-cidrs", "i", noOutbound),
		config.Refuse(config.Option{Name: "excluded-uids", Annotations: []string{capture.ExcludedUIDs}}, noOwners),
		refuse("included-groups", "", noOwners),
		refuse("excluded-groups", "", noOwners),
		refuse("excluded-interfaces", "c", noInterfaces),
		refuse("virtual-interfaces", "k", noInterfaces),
		refuse("dns-port", "", noDNS),
		refuse("loopback-cidr", "", isFixed),
		refuseSwitch("redirect-dns", noDNS),
		refuseSwitch("capture-all-dns", noDNS),
		config.RefuseSwitch(config.Option{Name: "redirect-virtual-dns", Annotations: []string{capture.RedirectVirtualDNS}}, noDNS),
		refuseSwitch("drop-invalid", noDrop),
	}
}
