package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
)

// found returns what the plan follows from that no option says, a line each: what
// --verbose tells.
func (p plan) found(resolvConf string) []string {
	lines := []string{
		"IPv6: " + p.foundIPv6(),
		fmt.Sprintf("the proxy's users: %s; its groups: %s", join(p.cfg.ProxyUIDs), join(p.cfg.ProxyGIDs)),
	}
	switch {
	case !p.cfg.RedirectDNS:
	case p.cfg.CaptureAllDNS:
		lines = append(lines, "name servers: any (--capture-all-dns)")
	case len(p.facts.NameServers) > 0:
		lines = append(lines, fmt.Sprintf("name servers: %s (%s)", join(p.facts.NameServers), resolvConf))
	}
	return lines
}

// foundIPv6 returns whether IPv6 is captured, and why.
func (p plan) foundIPv6() string {
	captured := slices.Contains(p.Rules.Families, iptables.IPv6)
	switch {
	case p.cfg.IPv6 != sidecar.IPv6Auto && captured:
		return "captured (--ipv6=on)"
	case p.cfg.IPv6 != sidecar.IPv6Auto:
		return "not captured (--ipv6=off)"
	case captured:
		return "captured: the namespace has a global IPv6 address (--ipv6=auto)"
	}
	return "not captured: the namespace has no global IPv6 address (--ipv6=auto)"
}

// join returns values as a list in a sentence.
func join[T any](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}
