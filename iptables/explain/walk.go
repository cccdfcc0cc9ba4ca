package explain

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// Walk sends a packet through raw, mangle and nat of its family, in the order in
// which the kernel has them at every hook (NF_IP_PRI_RAW, _MANGLE and _NAT_DST in
// linux/netfilter_ipv4.h). Only packets of new connections enter nat.
//
// A match or target that decides about the packet and that this package does not
// know is an error: a guess would be worse.
func Walk(rs *iptables.Ruleset, p Packet) (Result, error) {
	w := walker{packet: p}
	w.result = Result{Verdict: Bypassed, Mark: p.Mark, ConnMark: p.ConnMark}
	for _, name := range []string{iptables.Raw, iptables.Mangle, iptables.Nat} {
		if name == iptables.Nat && p.State != iptables.StateNew {
			continue
		}
		w.table = rs.Table(p.Family(), name)
		if w.table == nil {
			continue
		}
		if err := w.walkTable(); err != nil {
			return w.result, err
		}
		if w.result.Verdict == Dropped {
			break
		}
	}
	return w.result, nil
}

type walker struct {
	packet Packet
	table  *iptables.Table
	result Result
}

// outcome is how the walk through a chain ended.
type outcome int

const (
	fellThrough outcome = iota // at its end, or by RETURN
	decided                    // the table is done with the packet
)

func (w *walker) walkTable() error {
	base := w.table.Chain(w.packet.Hook)
	if base == nil {
		return nil
	}
	end, err := w.walkChain(base, 0)
	if err == nil && end == fellThrough && base.Policy == "DROP" {
		w.result.Verdict, w.result.Port = Dropped, 0
	}
	return err
}

// maxDepth bounds jumps within jumps. The kernel refuses loops, and nf_tables
// more than 16 levels (NFT_JUMP_STACK_SIZE); text may hold anything.
const maxDepth = 16

func (w *walker) walkChain(chain *iptables.Chain, depth int) (outcome, error) {
	if depth > maxDepth {
		return decided, fmt.Errorf("table %s, chain %s: jumps are nested more than %d deep", w.table.Name, chain.Name, maxDepth)
	}
	for i, rule := range chain.Rules {
		step := Step{Table: w.table.Name, Chain: chain.Name, Position: i + 1, Rule: rule}
		matched, err := w.matches(&rule)
		if err != nil {
			return decided, step.error(err)
		}
		if !matched {
			continue
		}
		w.result.Path = append(w.result.Path, step)
		switch t := rule.Target.(type) {
		case nil:
			continue
		case iptables.Jump:
			end, err := w.enter(step, t.Chain, depth)
			if err != nil || end == decided {
				return end, err
			}
		case iptables.Goto:
			return w.enter(step, t.Chain, depth)
		case iptables.Verdict:
			if t == iptables.Return {
				return fellThrough, nil
			}
			if t == iptables.Drop {
				w.result.Verdict, w.result.Port = Dropped, 0
			}
			return decided, nil
		default:
			end, err := w.apply(rule.Target)
			if err != nil {
				return decided, step.error(err)
			}
			if end == decided {
				return decided, nil
			}
		}
	}
	return fellThrough, nil
}

func (w *walker) enter(from Step, name string, depth int) (outcome, error) {
	chain := w.table.Chain(name)
	if chain == nil {
		return decided, from.error(fmt.Errorf("there is no chain %s", name))
	}
	return w.walkChain(chain, depth+1)
}

func (s Step) error(err error) error {
	return fmt.Errorf("table %s, chain %s, rule %d (%s): %w", s.Table, s.Chain, s.Position, s.Rule, err)
}

// apply does what a target other than a verdict or a jump does.
func (w *walker) apply(target iptables.Target) (outcome, error) {
	r := &w.result
	switch t := target.(type) {
	case iptables.Redirect:
		// The socket that TPROXY gave the packet to, in mangle, keeps it.
		if r.Verdict != TProxied {
			r.Verdict, r.Port = Redirected, t.Ports.First
			if t.Ports == (iptables.PortRange{}) {
				r.Port = w.packet.DestinationPort
			}
		}
		return decided, nil
	case iptables.TProxy:
		r.Verdict, r.Port = TProxied, t.Port
		if t.Port == 0 {
			r.Port = w.packet.DestinationPort
		}
		r.Mark = r.Mark&^t.Mask ^ t.Mark
		return decided, nil
	case iptables.SetMark:
		r.Mark = r.Mark&^t.Mask ^ t.Value
		return fellThrough, nil
	case iptables.SaveMark:
		r.ConnMark = r.ConnMark&^t.ConnectionMask ^ r.Mark&t.PacketMask
		return fellThrough, nil
	case iptables.RestoreMark:
		r.Mark = r.Mark&^t.PacketMask ^ r.ConnMark&t.ConnectionMask
		return fellThrough, nil
	case iptables.CTZone:
		// A packet that has a zone keeps it: xt_CT leaves alone what has
		// been given a connection (net/netfilter/xt_CT.c).
		if r.Zone == 0 {
			r.Zone = t.Zone
		}
		return fellThrough, nil
	}
	return decided, fmt.Errorf("unknown target %T", target)
}
