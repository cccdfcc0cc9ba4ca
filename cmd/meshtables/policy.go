package main

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// policy is which traffic goes through the proxy, by options of its own. It is settled
// before a command line is parsed, because each policy has letters of its own.
type policy struct {
	rows []config.Row
	// read returns what flags, which are made with the rows, and the other sources ask
	// for, and warnings.
	read func(*config.Flags, config.Sources) (wanted, []string, error)
}

// wanted is what a policy is asked for: a complete and valid set of its options.
type wanted interface {
	Plan(host.Host) capture.Capture
	// NeedsNameServers reports whether the plan depends on which name servers the
	// namespace has. If so, instead is what to ask for so that it does not, as the end of
	// a hint.
	NeedsNameServers() (needs bool, instead string)
	// Found returns what the plan follows from that no option says, a line each.
	Found(h host.Host, resolvConf string) []string
	// IDs returns the users and groups that rules are about, by their options.
	IDs() []capture.IDs
}

// newPolicy returns the policy of a command line.
func newPolicy() policy {
	var o sidecar.Options
	return policy{o.Rows(), func(flags *config.Flags, src config.Sources) (wanted, []string, error) {
		return o.Read(flags, src)
	}}
}
