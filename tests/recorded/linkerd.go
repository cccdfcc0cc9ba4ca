package recorded

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/config"
)

// LinkerdCase is one recorded run of linkerd2-proxy-init.
type LinkerdCase struct{ Case }

// LinkerdCases returns all recorded runs of linkerd2-proxy-init.
func LinkerdCases(t testing.TB) []LinkerdCase { return casesIn[LinkerdCase](t, "linkerd.jsonl") }

// Config returns the configuration of the arguments, which are complete.
func (c *LinkerdCase) Config(t testing.TB) linkerd.Config {
	t.Helper()
	return ParseLinkerd(t, "", c.Args...)
}

// Ruleset returns the kernel's rules, without the reference's comments and without the tables
// in which nothing was written.
func (c *LinkerdCase) Ruleset(t testing.TB) iptables.Ruleset {
	t.Helper()
	rs := c.Commented(t)
	return rs.Uncommented()
}

// Commented returns the kernel's rules as the reference wrote them.
func (c *LinkerdCase) Commented(t testing.TB) iptables.Ruleset {
	t.Helper()
	return ruleset(t, c.Name, c.IPv4, c.IPv6)
}

// ParseLinkerd returns the configuration of arguments and of annotations, as the downward API
// writes these.
func ParseLinkerd(t testing.TB, annotations string, args ...string) linkerd.Config {
	t.Helper()
	return read(t, new(linkerd.Options), config.Sources{Annotations: []byte(annotations)}, args)
}
