package explain

import (
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// apply does what a target of a step does that leads to no other rule.
func (w *walker) apply(s Step, target iptables.Target) outcome {
	switch t := target.(type) {
	case iptables.Redirect:
		w.redirect(s, t)
		return decided
	case iptables.TProxy:
		w.handOver(s, t)
		return decided
	case iptables.SNAT:
		w.renamed = true
		// Rules of ours may be in another form too, for a while.
		if !s.Foreign || w.path.Ownership.Owns(s.Chain) {
			w.result.Source = t.To
		}
		return decided
	case iptables.CTZone:
		w.assignZone(t)
		return goesOn
	case iptables.Alteration:
		t.Alter(&w.packet)
		return goesOn
	case iptables.UnknownTarget:
		return w.applyForeign(s, t, t.Effect())
	case iptables.Statement:
		return w.applyForeign(s, iptables.UnknownTarget{Name: t.Words}, t.Does)
	}
	return w.doubt(s, "the target is not known")
}

// verdictOf returns the verdict of a rule that captures, if it is ours.
func verdictOf(s Step, v Verdict) Verdict {
	if s.Foreign {
		return Taken
	}
	return v
}

// redirect changes the destination to this machine (nf_nat_redirect_ipv4 in
// net/netfilter/nf_nat_redirect.c).
func (w *walker) redirect(s Step, t iptables.Redirect) {
	w.translated = true
	// The socket that TPROXY gave the packet to, in mangle, keeps it.
	if w.handedOver {
		return
	}
	port := t.Ports.First
	if t.Ports == (iptables.PortRange{}) {
		port = w.packet.DestinationPort
	}
	w.decide(s, verdictOf(s, Redirected), port)
	to := w.packet.Family().Loopback()
	if w.packet.Hook == iptables.Prerouting && w.packet.DestinationType == localType {
		// An address of the interface: nobody says which one, and this is one of the
		// machine's.
		to = w.packet.Destination
	}
	w.packet.Destination, w.packet.DestinationPort, w.packet.DestinationType = to, port, localType
	w.packet.Translated = true
}

func (w *walker) handOver(s Step, t iptables.TProxy) {
	port := t.Port
	if port == 0 {
		port = w.packet.DestinationPort
	}
	w.handedOver = true
	w.decide(s, verdictOf(s, TProxied), port)
	w.packet.Mark = w.packet.Mark&^t.Mask ^ t.Mark
}

// assignZone assigns a conntrack zone. That tracks a packet again, if the rule is in
// nf_tables' own form: it takes one without a connection for one that is not tracked yet
// (nft_ct_set_zone_eval in net/netfilter/nft_ct.c). The target CT leaves it alone
// (xt_ct_target in net/netfilter/xt_CT.c).
func (w *walker) assignZone(t iptables.CTZone) {
	if w.packet.State == iptables.StateUntracked {
		if !w.met.Own || w.path.Form != installed.Native || !w.packet.BeforeTracking {
			return
		}
		w.packet.State, w.result.By = w.trackedState, nil
	}
	t.Alter(&w.packet)
}

// applyForeign does what a target of others does to the way of packets.
func (w *walker) applyForeign(s Step, t iptables.UnknownTarget, e iptables.Effect) outcome {
	if e == iptables.Rewrites && (w.packet.Hook == iptables.Input || w.packet.Hook == iptables.Postrouting) {
		// Some targets change the source there, as NETMAP does.
		e = iptables.Renames
	}
	switch e {
	case iptables.Passes:
		return goesOn
	case iptables.Discards:
		w.decide(s, Dropped, 0)
		return decided
	case iptables.Rewrites:
		w.rewrite(s, t)
		return decided
	case iptables.Renames:
		w.renamed = true
		return decided
	case iptables.Untracks:
		if w.packet.BeforeTracking {
			w.trackedState, w.packet.State = w.packet.State, iptables.StateUntracked
			w.result.By = &s
		}
		return goesOn
	}
	return w.doubt(s, "what "+t.Name+" does is not known")
}

// rewrite changes the destination as DNAT does, as far as its words say.
func (w *walker) rewrite(s Step, t iptables.UnknownTarget) {
	w.translated = true
	if w.handedOver {
		return
	}
	w.decide(s, Taken, 0)
	w.packet.Translated = true
	to, port := newDestination(t)
	if to.IsValid() && to.Is4() == w.packet.Destination.Is4() {
		w.packet.Destination, w.packet.DestinationType = to, ""
	}
	if port != 0 {
		w.packet.DestinationPort = port
	}
}

// newDestination reads "--to-destination ADDRESS[:PORT]" (iptables-extensions(8)). What it
// does not say, or leaves to the kernel's choice, is the zero value.
func newDestination(t iptables.UnknownTarget) (a netip.Addr, port uint16) {
	for i, word := range t.Args {
		if word != "--to-destination" || i+1 == len(t.Args) {
			continue
		}
		value := t.Args[i+1]
		if p, err := netip.ParseAddrPort(value); err == nil {
			return p.Addr(), p.Port()
		}
		a, _ := netip.ParseAddr(strings.Trim(value, "[]"))
		return a, 0
	}
	return netip.Addr{}, 0
}
