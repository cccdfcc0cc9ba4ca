package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Auto among the interfaces of --virtual-interfaces stands for the usual names and for what is
// found; see [VirtualInterfaces].
const Auto = "auto"

// usualNames are how the interfaces begin that programs make for what they run: Docker's first
// network and its others, libvirt's, KubeVirt's, Podman's, those of CNI plugins, nerdctl's, and
// those of LXC, LXD and Incus; and taps.
func usualNames() []string {
	return []string{
		"docker+", "br-+", "virbr+", "k6t-+", "podman+", "cni+", "nerdctl+", "lxcbr+", "lxdbr+", "incusbr+", "tap+",
	}
}

// VirtualInterfaces returns the names for which the items of --virtual-interfaces stand in a
// namespace; a trailing "+" matches any rest of a name. [Auto] stands for the usual names,
// whether there is such an interface yet or not, and for the bridges and taps that are there.
// An uplink is never among what it stands for.
func VirtualInterfaces(given []string, h host.Host) []string {
	names := slices.DeleteFunc(slices.Clone(given), func(name string) bool { return name == Auto })
	if len(names) == len(given) {
		return given
	}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, usual := range usualNames() {
		if len(uplinks([]string{usual}, h)) == 0 {
			add(usual)
		}
	}
	for _, i := range h.Interfaces {
		if i.Virtual && !i.Uplink && !IsInterfaceOf(names, i.Name) {
			add(i.Name)
		}
	}
	return names
}

// FoundVirtual says what [Auto] stands for in a namespace, if it is given, in a line at most.
func FoundVirtual(given []string, h host.Host) []string {
	if !slices.Contains(given, Auto) {
		return nil
	}
	return []string{"virtual interfaces: " + strings.Join(VirtualInterfaces(given, h), ", ")}
}

// IsInterfaceOf reports whether a list of names, of which a trailing "+" matches any rest, has an
// interface.
func IsInterfaceOf(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return iptables.Interface{Name: n}.MetBy(name) })
}

// ByInterfaces matches what goes by any of some interfaces, in a direction:
// [iptables.InInterface] or [iptables.OutInterface].
func ByInterfaces(direction iptables.SetField, names []string) Condition {
	return AnyOf(direction, Intervals(names, iptables.InterfaceInterval))
}

// ListenForDNS says how to have a proxy of Istio's listen at all addresses of a port, if that is
// the one for DNS: by default its agent and ztunnel answer queries at loopback addresses. where is
// what has the setting.
func ListenForDNS(port, dnsPort uint16, where string) string {
	if port != dnsPort {
		return ""
	}
	return fmt.Sprintf(`set DNS_PROXY_ADDR: "[::]:%d" among the proxyMetadata of %s`, port, where)
}

// uplinks returns the uplinks of a namespace that a list of names has.
func uplinks(names []string, h host.Host) []string {
	var all []string
	for _, i := range h.Interfaces {
		if i.Uplink && IsInterfaceOf(names, i.Name) {
			all = append(all, i.Name)
		}
	}
	return all
}

// uplinkWarnings is about interfaces of virtual machines that lead to other machines.
func (s Selection) uplinkWarnings(h host.Host) []string {
	all := uplinks(VirtualInterfaces(s.VirtualInterfaces, h), h)
	if len(all) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("--virtual-interfaces has %s, by which the default route leads to other machines: "+
		"connections from them are taken for outbound ones, and nothing by it is captured as inbound", strings.Join(all, ", "))}
}

// RedirectVirtualDNSRow is the option --redirect-virtual-dns, which no mesh has.
func RedirectVirtualDNSRow(target *bool) config.Row {
	return config.Row{Option: config.Option{
		Name: redirectVirtualDNS, Group: "DNS", Default: "false", Annotations: []string{RedirectVirtualDNS},
		Usage: "with --redirect-dns, capture the queries that come in by --virtual-interfaces too; the proxy must listen at --dns-port of these interfaces",
	}, Value: config.Bool(target)}
}

const redirectVirtualDNS = "redirect-virtual-dns"

// OptionRedirectVirtualDNS is that option as the origin of rules.
const OptionRedirectVirtualDNS = "--" + redirectVirtualDNS

// WarnVirtualDNS is about DNS queries of virtual machines.
func (s Selection) WarnVirtualDNS(r *config.Reading) {
	g, names := r.Given(redirectVirtualDNS), r.Given("virtual-interfaces")
	switch {
	case s.RedirectVirtualDNS && !s.RedirectDNS:
		r.Warn("%v has no effect without --redirect-dns", g)
	case s.RedirectVirtualDNS && len(s.VirtualInterfaces) == 0:
		r.Warn("%v has no effect without --virtual-interfaces", g)
	case !s.RedirectVirtualDNS && s.RedirectDNS && len(s.VirtualInterfaces) > 0 && !g.IsExplicit():
		r.Warn("%v: DNS over UDP from there gets no answer where the pod masquerades it, because --redirect-dns "+
			"has connection tracking look for the answers elsewhere\n"+
			"hint: %s captures these queries too", names, OptionRedirectVirtualDNS)
	}
}
