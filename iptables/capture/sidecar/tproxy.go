package sidecar

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// outboundMark is on packets that the proxy sends to the pod's own address over
// loopback. They have to come in again, unlike everything else on loopback. It is a
// constant in the reference.
const outboundMark = 1338

// tproxy writes mangle: inbound packets go to the proxy with both addresses unchanged.
// They get a mark, which routing delivers locally.
func (p *planner) tproxy(mangle *iptables.PlannedTable) {
	if p.cfg.Mode != ModeTProxy {
		return
	}
	p.tproxyPrerouting(mangle)
	p.tproxyOutput(mangle)
	if capturesInbound(p.cfg) {
		p.tproxyInbound(mangle)
		p.tproxyTargets(mangle)
	}
}

func (p *planner) tproxyPrerouting(mangle *iptables.PlannedTable) {
	why := p.markOrigin()
	mangle.Append(iptables.Prerouting, why.Rule(iptables.Jump{Chain: chainPrerouting}))
	p.skipInterfaces(mangle, chainPrerouting, iptables.InInterface)
	if capturesInbound(p.cfg) {
		p.keepVirtualQueries(mangle)
		mangle.Append(chainPrerouting, p.inboundJump())
	}
	// The connection keeps the mark for the answers; see tproxyOutput.
	mangle.Append(chainPrerouting, capture.Because("kept for the answers of the application", why.Rule(
		iptables.SaveMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
		capture.Protocol(iptables.TCP), capture.Mark(p.cfg.TProxyMark))))
}

func (p *planner) tproxyOutput(mangle *iptables.PlannedTable) {
	why := p.markOrigin()
	mangle.Append(iptables.Output, why.Rule(iptables.Jump{Chain: chainOutput}))
	p.skipInterfaces(mangle, chainOutput, iptables.OutInterface)
	// The proxy marks its own connections to the application, so that the
	// application sees the client's address. They must not be captured again.
	mangle.Append(chainOutput, capture.Because("the proxy's connection to the application", why.Rule(iptables.Return,
		capture.Out(capture.LoopbackInterface), capture.Protocol(iptables.TCP), capture.Mark(p.cfg.TProxyMark))))
	for _, id := range p.proxyIdentities() {
		mangle.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
			return capture.Because("to the pod's own address, so it comes in again",
				id.rule(iptables.SetMark{Value: outboundMark, Mask: iptables.FullMask},
					capture.NotToAddress(p.loopback(f)), capture.Out(capture.LoopbackInterface), capture.Protocol(iptables.TCP)))
		})...)
	}
	// Answers of the application to such a connection have the client's
	// address as destination; only the mark routes them back to the proxy.
	mangle.Append(chainOutput, capture.Because("answers of the application go back to the proxy", why.Rule(
		iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
		capture.Protocol(iptables.TCP), capture.Match(iptables.Connmark{Value: p.cfg.TProxyMark, Mask: iptables.FullMask}))))
}

func (p *planner) tproxyInbound(mangle *iptables.PlannedTable) {
	tcp := capture.Protocol(iptables.TCP)
	// Already on its way: the proxy's connection to the application.
	mangle.Append(chainInbound, capture.Because("the proxy's connection to the application",
		p.markOrigin().Rule(iptables.Return, tcp, capture.Mark(p.cfg.TProxyMark))))
	mangle.Append(chainInbound, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.BuiltIn("passthrough source").Rule(iptables.Return, capture.FromAddress(passthrough(f)), capture.In(capture.LoopbackInterface), tcp)
	})...)
	// Within the pod, only the proxy's connections to the pod's own address come in
	// again.
	mangle.Append(chainInbound, capture.BuiltIn("loopback").Rule(iptables.Return,
		capture.In(capture.LoopbackInterface), tcp, capture.NotMark(outboundMark)))

	p.selectInbound(mangle, func(why capture.Origin, conditions ...capture.Condition) []iptables.PlannedRule {
		return []iptables.PlannedRule{
			// A packet of a captured connection has a socket already. It only needs
			// the mark to get there.
			capture.Because("captured already", why.Rule(iptables.Jump{Chain: chainDivert},
				capture.All(conditions...), capture.State(iptables.StateRelated|iptables.StateEstablished))),
			why.Rule(iptables.Jump{Chain: chainTProxy}, conditions...),
		}
	})
}

func (p *planner) tproxyTargets(mangle *iptables.PlannedTable) {
	why := p.markOrigin()
	mangle.Append(chainDivert,
		capture.Because("routed to the proxy's socket", why.Rule(iptables.SetMark{Value: p.cfg.TProxyMark, Mask: iptables.FullMask})),
		why.Rule(iptables.Accept))
	handOver := iptables.TProxy{Port: p.cfg.InboundPort, Mark: p.cfg.TProxyMark, Mask: iptables.FullMask}
	mangle.Append(chainTProxy, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.From("--inbound-port", p.cfg.InboundPort).Rule(handOver, capture.NotToAddress(p.loopback(f)), capture.Protocol(iptables.TCP))
	})...)
}

func (p *planner) markOrigin() capture.Origin { return capture.From("--tproxy-mark", p.cfg.TProxyMark) }

// doubled returns rules of the policy that are safe for packets that meet two sets of
// them.
//
// A packet that the first set hands to the proxy has the mark, so to the second set it
// looks like a packet from the proxy. If the mark were saved with a client's connection,
// answers to the client would turn back. What the proxy sends to the application comes by
// loopback, so while there are two sets, only marks of such packets are saved.
func doubled(rules iptables.Ruleset) iptables.Ruleset {
	return rules.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		if _, saves := r.Target.(iptables.SaveMark); saves {
			r.In = iptables.MatchInterface(capture.LoopbackInterface)
		}
		return r
	})
}
