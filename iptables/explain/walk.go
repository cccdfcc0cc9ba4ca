package explain

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Loopback is the interface that connects a machine to itself.
const Loopback = "lo"

// Walk sends a packet through rules with nothing before them; see [WalkPath].
func Walk(rs *iptables.Ruleset, p iptables.Packet) (Result, error) {
	return WalkPath(&installed.Path{Rules: *rs}, p)
}

// WalkPath sends a packet through the tables of its family; see [installed.Path.Met].
// Only packets of new connections enter nat. Each table decides for itself: what one
// accepts goes on to the next, unless it has been redirected.
//
// What goes out via lo, or is redirected on its way out, comes in again via lo, so it is
// walked through PREROUTING too.
//
// Rules that a fault disables are skipped.
//
// If this package does not know a match or target that decides about the packet,
// WalkPath returns an error: a guess would be worse. The result then has the rules up
// to there, and the verdict [Unknown].
func WalkPath(path *installed.Path, p iptables.Packet) (Result, error) {
	w := walker{path: path, packet: p, result: Result{Verdict: Bypassed}}
	tables := []string{iptables.Raw, iptables.Mangle}
	if p.State == iptables.StateNew {
		tables = append(tables, iptables.Nat)
	}
	err := w.walkTables(tables)
	if err == nil && w.comesInAgain() {
		w.turnAround()
		// Its connection has been through nat: nf_nat_inet_fn asks the rules
		// once for source and once for destination (net/netfilter/nf_nat_core.c),
		// and OUTPUT was about the destination.
		err = w.walkTables([]string{iptables.Raw, iptables.Mangle})
	}
	if err != nil {
		w.result.Verdict, w.result.Port = Unknown, 0
	}
	w.result.Mark, w.result.ConnMark, w.result.Zone = w.packet.Mark, w.packet.ConnMark, w.packet.Zone
	return w.result, err
}

type walker struct {
	path *installed.Path
	// packet is the packet as the next rule sees it.
	packet iptables.Packet
	// tracked says that the packet has a connection before raw sees it.
	tracked bool
	table   installed.Table
	// translated says that nat has decided where the connection goes. Then it asks no
	// other chain at the hook (nf_nat_inet_fn in net/netfilter/nf_nat_core.c).
	translated bool
	result     Result
}

// comesInAgain reports whether a packet that left OUTPUT is for this machine.
func (w *walker) comesInAgain() bool {
	return w.packet.Hook == iptables.Output && w.result.Verdict != Dropped &&
		(w.packet.Out == Loopback || w.result.Verdict == Redirected)
}

// turnAround turns the packet that went out into one that comes in. It keeps its marks
// and its connection (loopback_xmit in drivers/net/loopback.c removes neither), and goes
// to where REDIRECT sent it (nf_nat_redirect_ipv4 in net/netfilter/nf_nat_redirect.c).
func (w *walker) turnAround() {
	p := &w.packet
	if w.result.Verdict == Redirected {
		p.Destination, p.DestinationPort = p.Family().Loopback(), w.result.Port
	}
	p.Hook, p.In, p.Out, p.Owner = iptables.Prerouting, Loopback, "", nil
	w.tracked = true
}

func (w *walker) walkTables(names []string) error {
	for _, table := range w.path.Met(w.packet.Family()) {
		if !slices.Contains(names, table.Name) || !table.Before && w.path.Disabled() {
			continue
		}
		if err := w.walkTable(table); err != nil {
			return err
		}
	}
	return nil
}

// outcome is how the walk through a chain ended.
type outcome int

const (
	fellThrough outcome = iota // at its end, or by RETURN
	decided                    // the table is done with the packet
)

// walkTable does nothing if the packet does not reach the table.
func (w *walker) walkTable(table installed.Table) error {
	w.table = table
	w.packet.BeforeTracking = table.Name == iptables.Raw && !w.tracked
	base := table.Chain(w.packet.Hook)
	if base == nil || w.result.Verdict == Dropped || w.translated && table.Name == iptables.Nat {
		return nil
	}
	end, err := w.walkChain(base, 0)
	if err == nil && end == fellThrough && base.Policy == "DROP" {
		w.drop()
		w.result.Path = append(w.result.Path, w.step(base, 0, iptables.Rule{Target: iptables.Drop}))
	}
	return err
}

func (w *walker) step(chain *iptables.Chain, position int, rule iptables.Rule) Step {
	return Step{Hook: w.packet.Hook, Table: w.table.Title(), Chain: chain.Name, Position: position, Rule: rule}
}

// maxDepth bounds jumps within jumps. The kernel refuses loops, and nf_tables
// more than 16 levels (NFT_JUMP_STACK_SIZE); text may hold anything.
const maxDepth = 16

func (w *walker) walkChain(chain *iptables.Chain, depth int) (outcome, error) {
	if depth > maxDepth {
		return decided, fmt.Errorf("table %s, chain %s: jumps are nested more than %d deep", w.table.Name, chain.Name, maxDepth)
	}
	for i, rule := range chain.Rules {
		step := w.step(chain, i+1, rule)
		matched, err := w.packet.Matches(&rule)
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
				w.drop()
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
