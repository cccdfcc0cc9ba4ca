package capture

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// outboundMark is on packets that the proxy sends to the pod's own address over
// loopback. They have to come in again, unlike everything else on loopback. The
// reference has it as a constant.
const outboundMark = 1338

// tproxy writes mangle: inbound packets go to the proxy with both their
// addresses, by a mark that routing delivers locally.
func (p *planner) tproxy(mangle *iptables.PlannedTable) {
	if p.cfg.Mode != config.ModeTProxy {
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
	mangle.Append(iptables.Prerouting, why.rule(iptables.Jump{Chain: chainPrerouting}))
	p.skipInterfaces(mangle, chainPrerouting, iptables.InInterface)
	if capturesInbound(p.cfg) {
		mangle.Append(chainPrerouting, p.inboundJump())
	}
	// The mark is kept with the connection, for the answers' sake: see
	// tproxyOutput.
	mangle.Append(chainPrerouting, because("kept for the answers of the application", why.rule(
		iptables.SaveMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
		protocol(iptables.TCP), mark(p.cfg.TProxyMark))))
}

func (p *planner) tproxyOutput(mangle *iptables.PlannedTable) {
	why := p.markOrigin()
	mangle.Append(iptables.Output, why.rule(iptables.Jump{Chain: chainOutput}))
	p.skipInterfaces(mangle, chainOutput, iptables.OutInterface)
	// The proxy marks its own connections to the application, so that the
	// application sees the client's address. They must not be captured again.
	mangle.Append(chainOutput, because("the proxy's connection to the application", why.rule(iptables.Return,
		out(loopbackInterface), protocol(iptables.TCP), mark(p.cfg.TProxyMark))))
	for _, id := range p.proxyIdentities() {
		mangle.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
			return because("to the pod's own address, so it comes in again",
				id.rule(iptables.SetMark{Value: outboundMark, Mask: iptables.FullMask},
					notDestination(p.loopback(f)), out(loopbackInterface), protocol(iptables.TCP)))
		})...)
	}
	// Answers of the application to such a connection have the client's
	// address as destination; only the mark routes them back to the proxy.
	mangle.Append(chainOutput, because("answers of the application go back to the proxy", why.rule(
		iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: iptables.FullMask},
		protocol(iptables.TCP), match(iptables.Connmark{Value: p.cfg.TProxyMark, Mask: iptables.FullMask}))))
}

func (p *planner) tproxyInbound(mangle *iptables.PlannedTable) {
	tcp := protocol(iptables.TCP)
	// Already on its way: the proxy's connection to the application.
	mangle.Append(chainInbound, because("the proxy's connection to the application",
		p.markOrigin().rule(iptables.Return, tcp, mark(p.cfg.TProxyMark))))
	mangle.Append(chainInbound, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return builtIn("passthrough source").rule(iptables.Return, source(f.Passthrough()), in(loopbackInterface), tcp)
	})...)
	// Of what stays within the pod, only the proxy's connections to the pod's
	// own address come in again.
	mangle.Append(chainInbound, builtIn("loopback").rule(iptables.Return,
		in(loopbackInterface), tcp, notMark(outboundMark)))

	p.selectInbound(mangle, func(why origin, conditions ...condition) []iptables.PlannedRule {
		return []iptables.PlannedRule{
			// A packet of a connection that was captured belongs to a socket
			// already and only needs the mark to get there.
			because("captured already", why.rule(iptables.Jump{Chain: chainDivert},
				all(conditions...), conntrack(iptables.StateRelated|iptables.StateEstablished))),
			why.rule(iptables.Jump{Chain: chainTProxy}, conditions...),
		}
	})
}

func (p *planner) tproxyTargets(mangle *iptables.PlannedTable) {
	why := p.markOrigin()
	mangle.Append(chainDivert,
		because("routed to the proxy's socket", why.rule(iptables.SetMark{Value: p.cfg.TProxyMark, Mask: iptables.FullMask})),
		why.rule(iptables.Accept))
	handOver := iptables.TProxy{Port: p.cfg.InboundPort, Mark: p.cfg.TProxyMark, Mask: iptables.FullMask}
	mangle.Append(chainTProxy, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return from("--inbound-port", p.cfg.InboundPort).rule(handOver, notDestination(p.loopback(f)), protocol(iptables.TCP))
	})...)
}

func (p *planner) markOrigin() origin { return from("--tproxy-mark", p.cfg.TProxyMark) }
