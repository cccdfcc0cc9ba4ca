package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// explainOptions are the parts of a question to explain, besides the address.
type explainOptions struct {
	live, trace  bool
	from         string
	protocol     iptables.Protocol
	uid, gid     string
	byProxy      bool
	in, out      string
	mark, ctmark markValue
	ctstate      string
}

// ctstates are the connection states that a question can name.
func ctstates() map[string]iptables.CTState {
	return map[string]iptables.CTState{
		"NEW": iptables.StateNew, "ESTABLISHED": iptables.StateEstablished, "INVALID": iptables.StateInvalid,
	}
}

// explainRows returns the options of explain. None has an environment variable.
func (o *options) explainRows() []config.Row {
	o.protocol, o.ctstate = iptables.TCP, "NEW"
	rows := []config.Row{
		{Option: config.Option{
			Name:  "live",
			Usage: "explain the installed rules, not the rules that these options ask for",
		}, Value: config.Bool(&o.live)},
		{Option: config.Option{
			Name:  "trace",
			Usage: "ask the kernel too, with one real packet, and show its answer",
		}, Value: config.Bool(&o.trace)},
		{Option: config.Option{
			Name:  "from",
			Usage: "source address, with or without a port (default: another machine for in, the pod itself for out)",
		}, Value: config.Text("address", &o.from)},
		{Option: config.Option{
			Name:  "proto",
			Usage: "protocol of the connection: tcp or udp",
		}, Value: config.Choice("protocol", &o.protocol, iptables.TCP, iptables.UDP)},
		{Option: config.Option{
			Name:  "uid",
			Usage: "user that connects, name or number (default: an application's, not the proxy's)",
		}, Value: config.Text("user", &o.uid)},
		{Option: config.Option{
			Name:  "gid",
			Usage: "group that connects, name or number (default: an application's)",
		}, Value: config.Text("group", &o.gid)},
		{Option: config.Option{
			Name:  "by-proxy",
			Usage: "the proxy connects, known to the rules by its user or its mark",
		}, Value: config.Bool(&o.byProxy)},
		{Option: config.Option{
			Name:  "in-interface",
			Usage: "incoming interface (default eth0)",
		}, Value: config.Text("interface", &o.in)},
		{Option: config.Option{
			Name:  "out-interface",
			Usage: "outgoing interface (default lo to the pod's own and loopback addresses, else eth0)",
		}, Value: config.Text("interface", &o.out)},
		{Option: config.Option{
			Name:  "mark",
			Usage: "mark of the packet",
		}, Value: &o.mark},
		{Option: config.Option{
			Name:  "ctmark",
			Usage: "mark of the connection",
		}, Value: &o.ctmark},
		{Option: config.Option{
			Name:  "ctstate",
			Usage: "state of the connection: NEW, ESTABLISHED or INVALID",
		}, Value: config.Choice("state", &o.ctstate, "NEW", "ESTABLISHED", "INVALID")},
	}
	for i := range rows {
		rows[i].FlagOnly = true
	}
	return rows
}

// markValue is a mark, or 0 for none.
type markValue uint32

var _ pflag.Value = (*markValue)(nil)

func (m *markValue) Set(text string) error {
	base := 10
	digits, isHex := strings.CutPrefix(strings.ToLower(text), "0x")
	if isHex {
		base = 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return errors.New("must be a 32-bit number, decimal or hexadecimal (0x539)")
	}
	*m = markValue(n)
	return nil
}

func (m *markValue) String() string { return fmt.Sprint(uint32(*m)) }
func (m *markValue) Type() string   { return "number" }
