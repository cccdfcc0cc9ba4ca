package explain

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Loopback is the interface that connects a machine to itself.
const Loopback = "lo"

// Walk sends a packet through rules that are all ours, with nothing around them; see
// [WalkPath].
func Walk(rs *iptables.Ruleset, p iptables.Packet) Result {
	return WalkPath(&installed.Path{Rules: *rs, Form: installed.NFT}, p)
}

// WalkPath sends a packet through every chain that it meets until it is delivered or
// leaves; see [installed.Path.Met]. Only packets of new connections enter nat. Each chain
// decides for itself: what one accepts goes on to the next, unless it has been redirected.
//
// What goes out via lo, or is redirected on its way out, comes in again via lo.
//
// If it depends on a match that a packet alone does not decide, WalkPath tries both. If
// that makes a difference, or if a rule may do anything, the verdict is [Unknown]: a guess
// would be worse.
func WalkPath(path *installed.Path, p iptables.Packet) Result {
	return walk(path, p, func(*walker) {})
}

// WalkWithout is [WalkPath] as if a rule, or a policy, were not there.
func WalkWithout(path *installed.Path, p iptables.Packet, skipped Step) Result {
	return walk(path, p, func(w *walker) { w.skipped = &skipped })
}

// walk sends a packet with every combination of answers. prepare says what else is known
// about it, before each walk.
func walk(path *installed.Path, p iptables.Packet, prepare func(*walker)) Result {
	return tryAll(func(o *oracle) Result {
		w := &walker{path: path, packet: p, oracle: o, result: Result{Verdict: Bypassed}}
		prepare(w)
		w.journey()
		return w.end()
	})
}

type walker struct {
	path   *installed.Path
	oracle *oracle
	// packet is the packet as the next rule sees it.
	packet iptables.Packet
	// tracked says that the packet has a connection before raw sees it.
	tracked bool
	met     installed.Met
	// trackedState is the state of a packet before a rule kept it from connection tracking.
	trackedState iptables.CTState
	// asked says that nat has been asked about the destination, translated that it has
	// decided where the connection goes. Then it asks no other chain at the hook
	// (nf_nat_inet_fn in net/netfilter/nf_nat_core.c).
	asked, translated bool
	// handedOver says that TPROXY gave the packet to a socket, which keeps it.
	handedOver bool
	// renamed says that nat has decided about the source.
	renamed bool
	// known is how nat has translated the connection that the packet belongs to; nil for
	// the first packet.
	known *translation
	// skipped is a rule that the walk passes over; nil for none.
	skipped *Step
	result  Result
	// over says that nothing happens to the packet any more.
	over bool
}

// translation is what nat does to each packet of a connection at a hook.
type translation struct {
	hook string
	do   func(*iptables.Packet)
}

func (w *walker) end() Result {
	w.result.Mark, w.result.ConnMark, w.result.Zone = w.packet.Mark, w.packet.ConnMark, w.packet.Zone
	w.result.Untracked = w.packet.State == iptables.StateUntracked
	return w.result
}

// journey walks the packet through the hooks on its way (Documentation/networking/ and
// NF_INET_* in linux/netfilter.h).
func (w *walker) journey() {
	if w.packet.Hook == iptables.Output {
		w.leave()
		if w.over || w.packet.Out != Loopback {
			return
		}
		w.turnAround()
	}
	w.arrive()
}

func (w *walker) leave() {
	w.pass(iptables.Output)
	if w.result.Port != 0 && !w.handedOver || w.packet.Destination.IsLoopback() {
		// It has another destination, so it is routed again (nf_nat_ipv4_local_fn).
		w.packet.Out = Loopback
	}
	w.pass(iptables.Postrouting)
	w.pass(installed.Egress)
}

func (w *walker) arrive() {
	if w.packet.In != "" {
		w.pass(installed.Ingress)
	}
	w.pass(iptables.Prerouting)
	if w.isForThisMachine() {
		w.pass(iptables.Input)
		return
	}
	w.pass(iptables.Forward)
	w.pass(iptables.Postrouting)
}

// isForThisMachine reports whether the packet is delivered here. If nobody knows, it is.
func (w *walker) isForThisMachine() bool {
	return w.result.Port != 0 || w.packet.DestinationType == "" || w.packet.DestinationType == localType
}

const localType = "LOCAL"

// turnAround turns the packet that went out into one that comes in. It keeps its marks
// and its connection (loopback_xmit in drivers/net/loopback.c removes neither). Its
// connection has been through nat, which is asked once for the source and once for the
// destination.
func (w *walker) turnAround() {
	p := &w.packet
	p.Hook, p.In, p.Out, p.Owner = iptables.Prerouting, Loopback, "", nil
	p.DestinationType = localType
	w.tracked = p.State != iptables.StateUntracked
	w.asked, w.renamed = true, true
}

// pass walks the packet through the chains of a hook.
func (w *walker) pass(hook string) {
	if w.over {
		return
	}
	w.packet.Hook = hook
	for _, m := range w.path.Met(w.packet.Family(), hook) {
		if hook == installed.Ingress && !m.Has(w.packet.In) || hook == installed.Egress && !m.Has(w.packet.Out) {
			continue
		}
		w.translate(m)
		if w.over || m.IsNAT() && !w.entersNAT() {
			continue
		}
		w.walkBase(m)
	}
	w.translate(installed.Met{Attachment: installed.Last})
	w.close(hook)
}

// close remembers at the end of a hook that nat has been asked there.
func (w *walker) close(hook string) {
	switch hook {
	case iptables.Prerouting, iptables.Output:
		w.asked = true
	case iptables.Input, iptables.Postrouting:
		w.renamed = true
	}
}

// translate does what nat does to a packet of a connection that it knows, before the first
// chain that comes later.
func (w *walker) translate(next installed.Met) {
	if w.known == nil || w.known.hook != w.packet.Hook || !next.ComesAfterNAT() {
		return
	}
	w.known.do(&w.packet)
	w.known = nil
}

// entersNAT reports whether nat asks its chains about the packet.
func (w *walker) entersNAT() bool {
	if w.packet.State != iptables.StateNew {
		return false
	}
	if w.packet.Hook == iptables.Input || w.packet.Hook == iptables.Postrouting {
		return !w.renamed
	}
	return !w.asked && !w.translated
}

// outcome is how a rule, or the walk through a chain, ended.
type outcome int

const (
	goesOn      outcome = iota // with the next rule
	fellThrough                // at the chain's end, or by RETURN
	decided                    // the base chain is done with the packet
)

func (w *walker) walkBase(m installed.Met) {
	w.met = m
	w.packet.BeforeTracking = m.ComesBeforeTracking() && !w.tracked
	end := w.walkChain(m.Chain, 0)
	if end == fellThrough && m.Chain.Policy == iptables.Policy(iptables.Drop) && !w.skips(m.Chain, 0) {
		s := w.step(m.Chain, 0, iptables.Rule{Target: iptables.Drop})
		w.result.Path = append(w.result.Path, s)
		w.decide(s, Dropped, 0)
	}
}

func (w *walker) step(chain *iptables.Chain, position int, rule iptables.Rule) Step {
	return Step{
		Hook: w.packet.Hook, Table: w.met.Title, Form: w.met.Form, Name: w.met.Name, Chain: chain.Name, Position: position, Rule: rule,
		Foreign: !w.path.Owns(w.met.Own, chain.Name, rule), Doubtful: w.met.Doubtful,
	}
}

func (w *walker) skips(chain *iptables.Chain, position int) bool {
	return w.skipped != nil && w.skipped.Position == position && w.skipped.Chain == chain.Name && w.skipped.Table == w.met.Title
}

// decide records the verdict. After dropping, or if it is unknown, nothing else happens.
func (w *walker) decide(s Step, v Verdict, port uint16) {
	w.result.Verdict, w.result.Port, w.result.By = v, port, &s
	w.over = v == Dropped || v == Unknown
}

// doubt ends the walk: from here anything may happen.
func (w *walker) doubt(s Step, why string) outcome {
	w.decide(s, Unknown, 0)
	w.result.Doubt = why
	return decided
}

// MaxDepth bounds jumps within jumps. The kernel refuses loops, and nf_tables
// more than 16 levels (NFT_JUMP_STACK_SIZE); text may hold anything.
const MaxDepth = 16

func (w *walker) walkChain(chain *iptables.Chain, depth int) outcome {
	for i := range chain.Rules {
		rule := &chain.Rules[i]
		if w.skips(chain, i+1) || !w.matches(rule, chain, i+1) {
			continue
		}
		step := w.step(chain, i+1, *rule)
		w.result.Path = append(w.result.Path, step)
		if end := w.act(step, rule.Target, depth); end != goesOn {
			return end
		}
	}
	return fellThrough
}

// matches asks the oracle about a doubtful match, unless the rule does nothing anyway.
func (w *walker) matches(rule *iptables.Rule, chain *iptables.Chain, position int) bool {
	matched, err := w.packet.Matches(rule)
	if err == nil {
		return matched
	}
	return !w.isIdle(rule.Target, 0) && w.oracle.ask(iptables.DoubtOf(err), w.step(chain, position, *rule))
}

// act does what a target does to the packet, depth jumps below the base chain.
func (w *walker) act(s Step, target iptables.Target, depth int) outcome {
	switch t := target.(type) {
	case nil:
		return goesOn
	case iptables.Jump:
		if w.enter(s, t.Chain, depth) == decided {
			return decided
		}
		return goesOn
	case iptables.Goto:
		return w.enter(s, t.Chain, depth)
	case iptables.Verdict:
		if t == iptables.Return {
			return fellThrough
		}
		if t == iptables.Drop {
			w.decide(s, Dropped, 0)
		}
		return decided
	case iptables.Choice:
		for _, r := range t.Cases(&w.packet) {
			if !w.meets(s, &r) {
				continue
			}
			if r.Target == nil {
				break
			}
			return w.act(s, r.Target, depth)
		}
		w.unmatch(s)
		return goesOn
	case iptables.Statements:
		for i := range t {
			if !w.meets(s, &t[i]) {
				break
			}
			if end := w.act(s, t[i].Target, depth); end != goesOn {
				return end
			}
		}
		return goesOn
	}
	return w.apply(s, target)
}

// unmatch takes a rule back that chooses by a value for which it has no case: the packet does
// not match it, and the kernel reports none (NFT_BREAK of nft_lookup_eval in
// net/netfilter/nft_lookup.c).
func (w *walker) unmatch(s Step) {
	if n := len(w.result.Path); n > 0 && w.result.Path[n-1].is(s) {
		w.result.Path = w.result.Path[:n-1]
	}
}

// meets reports whether the packet matches a part of a rule, on which the next parts depend.
func (w *walker) meets(s Step, part *iptables.Rule) bool {
	matched, err := w.packet.Matches(part)
	if err != nil {
		return w.oracle.ask(iptables.DoubtOf(err), s)
	}
	return matched
}

func (w *walker) enter(from Step, name string, depth int) outcome {
	chain := w.path.ChainOf(w.met.Table, name)
	switch {
	case chain == nil:
		return w.doubt(from, fmt.Sprintf("there is no chain %s", name))
	case depth == MaxDepth:
		return w.doubt(from, fmt.Sprintf("jumps are nested more than %d deep", MaxDepth))
	}
	return w.walkChain(chain, depth+1)
}

// isIdle reports whether a target does nothing that matters here, depth jumps below.
func (w *walker) isIdle(target iptables.Target, depth int) bool {
	switch target := target.(type) {
	case nil:
		return true
	case iptables.ForeignTarget:
		return target.Effect() == iptables.Passes
	case iptables.Jump:
		chain := w.path.ChainOf(w.met.Table, target.Chain)
		if chain == nil || depth == MaxDepth {
			return false
		}
		for _, r := range chain.Rules {
			if r.Target != iptables.Return && !w.isIdle(r.Target, depth+1) {
				return false
			}
		}
		return true
	case iptables.Choice:
		return !slices.ContainsFunc(target.All(), func(one iptables.Target) bool { return !w.isIdle(one, depth) })
	case iptables.Statements:
		return !slices.ContainsFunc(target, func(r iptables.Rule) bool { return !w.isIdle(r.Target, depth) })
	}
	return false
}
