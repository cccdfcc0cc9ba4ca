package node

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Traffic is what our rules have counted. Chains of nat see the first packet of a connection
// only, so there a packet is a connection.
type Traffic struct {
	In  Counts `json:"in"`
	Out Counts `json:"out"`
}

// Counts are packets of a direction.
type Counts struct {
	// Captured went to the proxy.
	Captured uint64 `json:"captured"`
	// Bypassed met our rules and went on as they were, such as all that the proxy sends.
	Bypassed uint64 `json:"bypassed"`
}

// CountTraffic returns what rules, all ours, have counted. A table counts in a direction if its
// rules can capture there.
func CountTraffic(own *iptables.Ruleset) Traffic {
	var t Traffic
	for i := range own.Tables {
		c := counter{table: &own.Tables[i]}
		c.addTo(&t.In, iptables.Prerouting)
		c.addTo(&t.Out, iptables.Output)
	}
	return t
}

// counter counts in one table.
type counter struct {
	table *iptables.Table
	// on are the chains that are being counted: a loop of jumps counts nothing.
	on []string
}

func (c *counter) addTo(counts *Counts, hook string) {
	chain := c.table.Chain(hook)
	if chain == nil {
		return
	}
	captured, can := c.captured(chain)
	if !can {
		return
	}
	var entered uint64
	for i := range chain.Rules {
		entered += c.packets(&chain.Rules[i])
	}
	counts.Captured += captured
	counts.Bypassed += entered - min(entered, captured)
}

// packets returns the packets of a rule. One rule for both families counts once.
func (c *counter) packets(r *iptables.Rule) uint64 {
	if r.Shared && c.table.Family == iptables.IPv6 {
		return 0
	}
	return r.Counters.Packets
}

// captured returns how many packets a chain has captured, and whether it can capture any. A
// chain that several rules lead to may count for both directions, so those that capture all
// count where rules lead to them.
func (c *counter) captured(chain *iptables.Chain) (n uint64, can bool) {
	if slices.Contains(c.on, chain.Name) {
		return 0, false
	}
	c.on = append(c.on, chain.Name)
	defer func() { c.on = c.on[:len(c.on)-1] }()
	for i := range chain.Rules {
		r := &chain.Rules[i]
		if captures(r.Target) {
			n, can = n+c.packets(r), true
			continue
		}
		name, jumps := r.JumpsTo()
		to := c.table.Chain(name)
		switch {
		case !jumps || to == nil:
		case c.capturesAll(to):
			n, can = n+c.packets(r), true
		default:
			more, may := c.captured(to)
			n, can = n+more, can || may
		}
	}
	return n, can
}

func captures(t iptables.Target) bool {
	switch t.(type) {
	case iptables.Redirect, iptables.TProxy:
		return true
	}
	return false
}

// capturesAll reports whether what comes to a chain is for the proxy: each of its rules captures,
// or it marks packets of captured connections as TPROXY does, so that they get there.
func (c *counter) capturesAll(chain *iptables.Chain) bool {
	capturing := 0
	for _, r := range chain.Rules {
		mark, marks := r.Target.(iptables.SetMark)
		switch {
		case captures(r.Target), marks && c.isProxyMark(mark):
			capturing++
		case r.Target != iptables.Target(iptables.Accept):
			return false
		}
	}
	return capturing > 0
}

// isProxyMark reports whether TPROXY sets the same mark.
func (c *counter) isProxyMark(m iptables.SetMark) bool {
	for _, chain := range c.table.Chains {
		for _, r := range chain.Rules {
			if t, ok := r.Target.(iptables.TProxy); ok && t.Mark == m.Value {
				return true
			}
		}
	}
	return false
}
