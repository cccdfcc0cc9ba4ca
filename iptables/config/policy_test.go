package config

import (
	"io"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// policy is some options such as a policy has.
type policy struct {
	outboundPort, inboundPort          uint16
	mode                               string
	included                           PortSelection
	excluded                           []iptables.PortRange
	includedOutbound, excludedOutbound []iptables.PortRange
	dropInvalid, dualStack             bool
}

func (p *policy) rows() []Row {
	return []Row{
		{Option{Name: "outbound-port", Reference: []string{"envoy-port"}, Letter: "p", Default: "15001"}, Port(&p.outboundPort)},
		{Option{Name: "inbound-port", Default: "15006"}, Port(&p.inboundPort)},
		{Option{
			Name: "mode", Default: "REDIRECT", Example: "TPROXY", Annotations: []string{"sidecar.istio.io/interceptionMode"},
		}, Choice("mode", &p.mode, "REDIRECT", "TPROXY")},
		{Option{Name: "included-ports", Default: Everything}, SelectedPorts(&p.included)},
		{Option{Name: "excluded-ports", Annotations: []string{"example.org/excluded"}}, Ports(&p.excluded)},
		{Option{Name: "included-outbound-ports"}, Ports(&p.includedOutbound)},
		{Option{Name: "excluded-outbound-ports"}, Ports(&p.excludedOutbound)},
		{Option{Name: "drop-invalid", Shared: true, Env: []string{"INVALID_DROP"}, Default: "false"}, Bool(&p.dropInvalid)},
		{Option{Name: "dual-stack", Default: "false", Hidden: true, Usage: "as --ipv6=on"}, Bool(&p.dualStack)},
	}
}

// newFlags returns flags that print nothing and do not exit, and what they set.
func newFlags() (*pflag.FlagSet, *Flags, *policy) {
	var p policy
	fs, flags := newFlagsOf(p.rows())
	return fs, flags, &p
}

func newFlagsOf(rows []Row) (*pflag.FlagSet, *Flags) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs, NewFlags(fs, rows)
}
