package pod

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Judge returns what foreign rules do to the traffic that our installed rules of a path
// capture; see [foreign.Judge].
func Judge(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, path *installed.Path, h host.Host) ([]foreign.Finding, error) {
	if !foreign.IsOn(path) {
		return nil, nil
	}
	s, err := SituationOf(ctx, ns, policy, path, h)
	if err != nil {
		return nil, err
	}
	return foreign.Judge(s), nil
}

// SituationOf returns what is judged.
func SituationOf(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, path *installed.Path, h host.Host) (foreign.Situation, error) {
	interfaces, err := host.Interfaces(ctx, ns)
	return foreign.Situation{
		Path: path, Addresses: h.Addresses, Interfaces: host.NamesUp(interfaces), NameServers: h.NameServers,
		Proxy: func(f iptables.Family) explain.Proxy { return ProxyOf(policy, path, f) },
	}, err
}

// JudgeFound is [Judge] for what is installed, with the name servers that its rules name.
func JudgeFound(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, found *Found) ([]foreign.Finding, error) {
	live := found.Live()
	path := found.Path(live.Form)
	if !live.HasOwn() || !foreign.IsOn(&path) {
		return nil, nil
	}
	addresses, err := host.Addresses(ctx, ns)
	if err != nil {
		return nil, err
	}
	return Judge(ctx, ns, policy, &path, host.Host{Addresses: addresses})
}

// ProxyOf returns the likeliest proxy. Nothing is known of it if the rules do not say.
func ProxyOf(policy capture.Policy, path *installed.Path, f iptables.Family) explain.Proxy {
	own := path.Own()
	if proxies := policy.Proxies(&own, f); len(proxies) > 0 {
		return proxies[0]
	}
	return explain.Proxy{}
}

// WarningsOf says findings in sentences, with a hint each.
func WarningsOf(all []foreign.Finding) []string {
	var warnings []string
	for _, f := range all {
		text := f.String()
		if f.Command != "" {
			text += "\nhint: to take it away: " + f.Command
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// undelivered returns why packets that TPROXY has marked do not get to the proxy, a sentence
// for each family.
func undelivered(there *routes.State, want iptables.Routing) []string {
	var all []string
	for _, f := range want.Families {
		if why := there.Undelivered(f, want.Mark); why != "" {
			all = append(all, why)
		}
	}
	return all
}
