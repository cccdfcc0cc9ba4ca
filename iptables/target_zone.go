package iptables

import "strconv"

// CTZone assigns the packet to a conntrack zone. Connections that differ only in their
// zone are tracked separately.
type CTZone struct {
	Zone uint16
}

func (t CTZone) appendSave(words []string) []string {
	return append(words, "-j", "CT", "--zone", strconv.Itoa(int(t.Zone)))
}

// Alter sets the packet's zone. A packet that has a zone keeps it: xt_CT leaves packets
// with a connection alone (net/netfilter/xt_CT.c).
func (t CTZone) Alter(p *Packet) {
	if !p.HasConnection() {
		p.Zone = t.Zone
	}
}

func parseCTZone(args []arg) Target {
	if len(args) != 1 || args[0].name != "--zone" {
		return nil
	}
	zone, err := strconv.ParseUint(args[0].value, 10, 16)
	if err != nil {
		return nil
	}
	return CTZone{uint16(zone)}
}
