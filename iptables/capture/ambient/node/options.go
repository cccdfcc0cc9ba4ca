package node

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/config"
)

// Options are the options of the policy, with what is given for them. The zero value is
// ready to use.
type Options struct{ cfg Config }

// Variables returns how Istio's variables begin, and those of its agent.
func (o *Options) Variables() (reference, foreign []string) { return new(ambient.Options).Variables() }

// Rows returns the options, in the order of --help.
func (o *Options) Rows() []config.Row {
	c := &o.cfg
	return []config.Row{
		ambient.HostProbeRow(&c.HostProbe),
		{Option: config.Option{
			Name: "pod-interfaces", Group: "routing", Default: "false",
			Usage: "pods may have an interface of their own in the cloud's network, as with AWS' security groups for pods: add routing rules that keep probes and their answers on the node",
		}, Value: config.Bool(&c.PodInterfaces)},
		{Option: config.Option{
			Name: "probe-route", Group: "routing", Default: "false",
			Usage: "add a route to --host-probe-address by the loopback interface, for networks that look for one, as Cilium does with BPF host routing",
		}, Value: config.Bool(&c.ProbeRoute)},
		capture.IPv6Row(&c.IPv6, "write rules for IPv6"),
		capture.CommentsRow(&c.Comments),
	}
}

// Read implements [capture.Options].
func (o *Options) Read(flags *config.Flags, src config.Sources) (capture.Wanted, []string, error) {
	*o = Options{}
	r := flags.Read(src)
	if err := r.Err(); err != nil {
		return Config{}, nil, err
	}
	return o.cfg, r.Warnings(), nil
}
