package explain

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Answer sends the proxy's answer to a captured packet back: a packet of the same
// connection, as the proxy sends it. The verdict is [Bypassed] if it arrives as the answer.
// If nat does not see it, it arrives as something else: then Untracked is set.
func Answer(path *installed.Path, p iptables.Packet, captured Result, proxy Proxy) Result {
	return walk(path, proxy.Sends(answerTo(p, captured)), func(w *walker) {
		if captured.isTranslated() {
			// The client sees the answer come from where it sent the packet.
			w.known = &translation{iptables.Postrouting, func(a *iptables.Packet) {
				a.Source, a.SourcePort = p.Destination, p.DestinationPort
			}}
		}
	})
}

// Next sends the second packet of a captured connection after the first: its state is
// ESTABLISHED, and nat translates it without asking its chains.
func Next(path *installed.Path, p iptables.Packet, captured Result) Result {
	p.State, p.ConnMark, p.Translated = iptables.StateEstablished, captured.ConnMark, captured.isTranslated()
	return walk(path, p, func(w *walker) {
		if captured.isTranslated() {
			w.known = &translation{captured.By.Hook, func(p *iptables.Packet) {
				if p.Hook == iptables.Output {
					p.Destination = p.Family().Loopback()
				}
				p.DestinationPort, p.DestinationType = captured.Port, localType
			}}
		}
	})
}

// isTranslated reports whether nat gave a packet that arrives its port.
func (r Result) isTranslated() bool { return r.Verdict == Redirected || r.Verdict == Taken }

// answerTo returns the proxy's answer as its socket sends it.
func answerTo(p iptables.Packet, captured Result) iptables.Packet {
	a := iptables.Packet{
		Hook: iptables.Output, Protocol: p.Protocol, State: iptables.StateEstablished, ConnMark: captured.ConnMark,
		Translated: captured.isTranslated(),
		Source:     p.Destination, SourcePort: p.DestinationPort, Destination: p.Source, DestinationPort: p.SourcePort,
		SourceType: localType, DestinationType: p.SourceType, Out: p.In,
	}
	if captured.isTranslated() {
		a.SourcePort = captured.Port
	}
	if p.Hook == iptables.Output && captured.isTranslated() {
		a.Source, a.Out, a.DestinationType = p.Family().Loopback(), Loopback, localType
	}
	return a
}

// Reply brings the answer back to a connection of this machine whose source nat has changed to
// another: a packet to that address, which came in by an interface. Connection tracking gives it
// the address of the connection as its destination again. The verdict is [Bypassed] if it arrives
// as the answer.
func Reply(path *installed.Path, p iptables.Packet, source netip.Addr, in string) Result {
	a := iptables.Packet{
		Hook: iptables.Prerouting, Protocol: p.Protocol, State: iptables.StateEstablished, Translated: true, In: in,
		Source: p.Destination, SourcePort: p.DestinationPort, SourceType: p.DestinationType,
		Destination: source, DestinationPort: p.SourcePort,
	}
	return walk(path, a, func(w *walker) {
		w.known = &translation{iptables.Prerouting, func(a *iptables.Packet) {
			a.Destination, a.DestinationType = p.Source, localType
		}}
	})
}
