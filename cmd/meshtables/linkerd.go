package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// The arguments of linkerd2-proxy-init, as Linkerd's injector gives them: options of the policy
// by their names there, and the following, which are options of this program.

// linkerdOptions are values of options that have other words there.
type linkerdOptions struct{ iptablesMode, firewallBinary string }

func (o *linkerdOptions) rows() []config.Row {
	return []config.Row{
		{Option: config.Option{
			Name: "iptables-mode", Hidden: true, FlagOnly: true,
			Usage: "as --backend=iptables-nft, --backend=iptables-legacy or, for plain, --backend=iptables",
		}, Value: config.Choice("mode", &o.iptablesMode, "", "nft", "legacy", "plain")},
		{Option: config.Option{
			Name: "firewall-bin-path", Hidden: true, FlagOnly: true,
			Usage: "as --backend=iptables-nft, --backend=iptables-legacy or --backend=iptables, by the program's name",
		}, Value: config.Text("file", &o.firewallBinary)},
	}
}

// linkerdModes are the backends by --iptables-mode.
var linkerdModes = map[string]string{"nft": kernel.NFT, "legacy": kernel.Legacy, "plain": kernel.Any}

// apply sets the backend, by Linkerd's words for it.
func (o *linkerdOptions) apply(to *options) error {
	if o.iptablesMode != "" {
		return to.setBackend("--iptables-mode="+o.iptablesMode, linkerdModes[o.iptablesMode])
	}
	if o.firewallBinary == "" {
		return nil
	}
	// These backends have the names of programs.
	backend := path.Base(o.firewallBinary)
	if !slices.Contains([]string{kernel.NFT, kernel.Legacy, kernel.Any}, backend) {
		return fmt.Errorf("--firewall-bin-path %q: must be a path to iptables, iptables-nft or iptables-legacy", o.firewallBinary)
	}
	return to.setBackend("--firewall-bin-path="+o.firewallBinary, backend)
}

// linkerdWait is a switch of Linkerd's without a meaning here, and linkerdSave an option.
const (
	linkerdWait = "use-wait-flag"
	linkerdSave = "firewall-save-bin-path"
)

// linkerdNames are the long names that only Linkerd has: of its policy's options and of this
// program's.
var linkerdNames = []string{
	"firewall-bin-path", linkerdSave, "inbound-ports-to-ignore", "inbound-subnets-to-ignore", "incoming-proxy-port",
	"iptables-mode", "netns", "outbound-ports-to-ignore", "outbound-subnets-to-ignore", "outgoing-proxy-port",
	"ports-to-redirect", "simulate", "subnets-to-ignore", "timeout-close-wait-secs", linkerdWait,
}

// namesLinkerd reports whether any flag is one that only Linkerd has: its injector gives flags
// only, and no first word.
func namesLinkerd(args []string) bool {
	for _, arg := range args {
		if arg == "--" {
			return false
		}
		name, isLong := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		if arg == "-w" || isLong && slices.Contains(linkerdNames, name) {
			return true
		}
	}
	return false
}

// linkerdName is a flag by its name in Linkerd, and what it means here.
type linkerdName struct{ Letter, Name, Means string }

// linkerdList returns all of Linkerd's flags.
func linkerdList() []linkerdName {
	var all []linkerdName
	line := newCommandLine(verbs()[0], choice{dataplane: ofLinkerd})
	for _, o := range line.flags.Policy() {
		if o.Hidden || o.Letter == "" && o.FlagNames == nil && !slices.Contains(linkerdNames, o.Name) {
			continue
		}
		ending := ""
		if o.Default != "" {
			ending = " (default " + o.Default + ")"
		}
		if o.FlagNames == nil {
			all = append(all, linkerdName{o.Letter, o.Name, o.Usage + ending})
		}
		for _, name := range o.FlagNames {
			all = append(all, linkerdName{o.Letter, name, "as --" + o.Name + ending})
		}
	}
	for _, row := range slices.Concat(line.options.rows(), line.options.applyOptions.rows()) {
		if row.FlagNames != nil {
			all = append(all, linkerdName{"", row.FlagNames[0], "as --" + row.Name})
		}
	}
	for _, row := range line.options.linkerdOptions.rows() {
		all = append(all, linkerdName{"", row.Name, row.Usage})
	}
	return append(all, linkerdName{"", linkerdSave, noEffect}, linkerdName{"w", linkerdWait, noEffect})
}

const noEffect = "accepted, without effect"
