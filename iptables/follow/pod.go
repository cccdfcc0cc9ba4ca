package follow

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// link returns the interface that has an address; the zero value if none has it.
func (p *Pod) link(ctx context.Context, a netip.Addr) (rtnetlink.Link, error) {
	addresses, err := rtnetlink.Addresses(ctx, p.Namespace, rtnetlink.FamilyOf(a))
	if err != nil {
		return rtnetlink.Link{}, fmt.Errorf("failed to list the addresses of the pod: %w", err)
	}
	for _, have := range addresses {
		if have.Prefix.Addr() == a {
			return rtnetlink.LinkByIndex(ctx, p.Namespace, have.Link)
		}
	}
	return rtnetlink.Link{}, nil
}

// pair returns the pair of interfaces that joins a node to the pod at an address: the node's end
// and the pod's. The node's is the zero value if there is none.
func (p *Pod) pair(ctx context.Context, node *namespace.Namespace, a netip.Addr) (end, podEnd rtnetlink.Link, err error) {
	if podEnd, err = p.link(ctx, a); err != nil || podEnd.Peer == 0 {
		return end, podEnd, err
	}
	file, err := p.Namespace.File()
	if err != nil {
		// Nothing tells it from others then.
		return end, podEnd, nil
	}
	number, err := rtnetlink.NumberOf(ctx, node, file)
	if err != nil || number < 0 {
		return end, podEnd, nil
	}
	links, err := rtnetlink.Links(ctx, node)
	if err != nil {
		return end, podEnd, fmt.Errorf("failed to list the interfaces of the node: %w", err)
	}
	for _, l := range links {
		if l.Index == podEnd.Peer && l.Peer == podEnd.Index && l.PeerNamespace == number {
			end = l
		}
	}
	return end, podEnd, nil
}

// IsJoined reports whether a pair of interfaces joins a node to the pod at an address.
func (p *Pod) IsJoined(ctx context.Context, node *namespace.Namespace, a netip.Addr) (bool, error) {
	end, _, err := p.pair(ctx, node, a)
	return end.Index != 0, err
}

// enterPod takes the probe in, by the pod's rules, to the application.
func (f *follower) enterPod() (err error) {
	if f.Pod == nil {
		f.way.add(InPod, "not looked at: no network namespace of this machine is known to have %s", f.Packet.Destination)
		return nil
	}
	if f.podEnd.Index == 0 {
		if f.podEnd, err = f.Pod.link(f.ctx, f.Packet.Destination); err != nil {
			return err
		}
	}
	if f.podEnd.Index == 0 {
		f.way.lose(InPod, "", "%s is no address of its", f.Packet.Destination)
		return nil
	}
	f.way.add(InPod, "it comes in by %s", f.podEnd.Name)
	p := iptables.Packet{
		Hook: iptables.Prerouting, Protocol: f.Packet.Protocol, State: iptables.StateNew, In: f.podEnd.Name,
		Source: f.source, SourcePort: f.Packet.SourcePort, SourceType: "UNICAST",
		Destination: f.Packet.Destination, DestinationPort: f.Packet.DestinationPort, DestinationType: "LOCAL",
	}
	result := explain.WalkPath(f.Pod.Path, p)
	if f.judgeInPod(result); f.way.Lost {
		return nil
	}
	_, why, err := lookup(f.ctx, f.Pod.Namespace, rtnetlink.Packet{To: p.Destination, From: p.Source, Mark: result.Mark}, f.podEnd)
	switch {
	case err != nil:
		return err
	case why == reversePath:
		f.way.lose(InPod, looseFilter(f.podEnd.Name)+", in the pod", "%s", why)
		return nil
	case why != "":
		f.way.lose(InPod, "", "%s", why)
		return nil
	}
	listeners, err := host.ReadListeners(f.Pod.Namespace)
	if err != nil {
		return err
	}
	if !listeners.Has(p.Protocol, netip.AddrPortFrom(p.Destination, p.DestinationPort)) {
		f.way.lose(InPod, "", "nobody listens at port %d: it is refused", p.DestinationPort)
		return nil
	}
	f.way.add(InPod, "a socket takes it at port %d", p.DestinationPort)
	return nil
}

// judgeInPod says what the pod's rules do to the probe.
func (f *follower) judgeInPod(result explain.Result) {
	switch {
	case result.Verdict == explain.Dropped:
		f.way.lose(InPod, "", "dropped by %s", result.By)
	case result.Verdict == explain.Unknown:
		f.way.lose(InPod, "", "nobody can tell what the rules do to it: %s", result.Doubt)
	case result.Verdict != explain.Bypassed:
		f.way.lose(InPod, "", "the rules send it to port %d: they do not know %s as the address of probes", result.Port, f.source)
	case f.Pod.Policy == nil:
		f.way.add(InPod, "no rules of a mesh are here")
	default:
		for _, s := range result.Path {
			if s.Rule.Source.MetBy(f.source) && !s.Rule.Source.MetBy(f.source.Next()) {
				f.way.add(InPod, "the rules leave it alone because of its source: %s", s)
				return
			}
		}
		f.way.add(InPod, "the rules leave it alone")
	}
}

// leavePod sends the answer back.
func (f *follower) leavePod() error {
	if f.Pod == nil {
		return nil
	}
	p := iptables.Packet{
		Hook: iptables.Output, Protocol: f.Packet.Protocol, State: iptables.StateEstablished, Out: f.podEnd.Name,
		Source: f.Packet.Destination, SourcePort: f.Packet.DestinationPort, SourceType: "LOCAL",
		Destination: f.source, DestinationPort: f.Packet.SourcePort, DestinationType: "UNICAST",
	}
	result := explain.WalkPath(f.Pod.Path, p)
	if result.Verdict == explain.Dropped {
		f.way.lose(InPod, "", "the answer is dropped by %s", result.By)
		return nil
	}
	route, why, err := lookup(f.ctx, f.Pod.Namespace, rtnetlink.Packet{To: f.source, From: p.Source, Mark: result.Mark}, rtnetlink.Link{})
	if err != nil {
		return err
	}
	if why != "" {
		f.way.lose(InPod, "", "%s for the answer to %s", why, f.source)
		return nil
	}
	out, err := rtnetlink.LinkByIndex(f.ctx, f.Pod.Namespace, route.Link)
	switch {
	case err != nil:
		return fmt.Errorf("failed to find the interface of a route: %w", err)
	case route.Type == unix.RTN_LOCAL || out.IsLoopback():
		f.way.lose(InPod, "", "the answer to %s does not leave the pod: %s", f.source, by(out.Name, route))
	case out.Index != f.podEnd.Index:
		f.way.lose(InPod, "", "the answer leaves %s, not by %s, where the probe came in", by(out.Name, route), f.podEnd.Name)
	default:
		f.way.add(InPod, "the answer leaves %s", by(out.Name, route))
	}
	return nil
}
