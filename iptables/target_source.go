package iptables

import "net/netip"

// SNAT gives the connection another source address: in POSTROUTING and INPUT only.
type SNAT struct{ To netip.Addr }

func (t SNAT) appendSave(words []string) []string {
	return append(words, "-j", "SNAT", "--to-source", t.To.String())
}

// parseSNAT reads one address. Ranges and ports stay words.
func parseSNAT(args []arg) Target {
	if len(args) != 1 || args[0].name != "--to-source" {
		return nil
	}
	a, err := netip.ParseAddr(args[0].value)
	if err != nil {
		return nil
	}
	return SNAT{a}
}
