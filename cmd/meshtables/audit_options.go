package main

import (
	"time"

	"github.com/meshtables/meshtables/iptables/cni/install"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/node"
)

// auditOptions are the options of audit.
type auditOptions struct {
	repair     bool
	every      time.Duration
	outputFile string
}

// outputOpenMetrics is the format of audit for monitoring.
const outputOpenMetrics outputFormat = "openmetrics"

// auditRows returns the options of audit. Those that say what this run is for are flags only.
func (o *options) auditRows() []config.Row {
	o.networks = install.DefaultNetworks
	rows := []config.Row{
		{Option: config.Option{
			Name: "output", Letter: "O",
			Usage: "format of the answer: text, json, or openmetrics for the textfile collector of Prometheus' node exporter",
		}, Value: config.Choice("format", &o.output, outputText, outputJSON, outputOpenMetrics)},
		{Option: config.Option{
			Name:  "repair",
			Usage: "apply what a pod asks for where something else is installed, or nothing",
		}, Value: config.Bool(&o.repair)},
		{Option: config.Option{
			Name: "dry-run", Letter: "n",
			Usage: "with --repair, say what it would do; change nothing",
		}, Value: config.Bool(&o.dryRun)},
		{Option: config.Option{
			Name:  "network-folder",
			Usage: "the folder of the node's CNI networks, in which the plugin has an entry",
		}, Value: config.File("folder", &o.networks)},
		{Option: config.Option{
			Name:  "every",
			Usage: "stay, and audit again after this time, such as 1m",
		}, Value: newEvery(&o.every)},
		{Option: config.Option{
			Name:  "output-file",
			Usage: "write the answer to this file, at once, instead of stdout",
		}, Value: config.File("file", &o.outputFile)},
	}
	for i := range rows {
		rows[i].FlagOnly = rows[i].Name != "output" && rows[i].Name != "network-folder"
	}
	return rows
}

// podValue is NAMESPACE/NAME.
type podValue string

func (v *podValue) Set(text string) error {
	if err := node.ParseName(text); err != nil {
		return err
	}
	*v = podValue(text)
	return nil
}

func (v *podValue) String() string { return string(*v) }
func (v *podValue) Type() string   { return "namespace/name" }
