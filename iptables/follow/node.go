package follow

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
)

// leaveNode gives the probe its address, and finds by which interface it leaves the node.
func (f *follower) leaveNode() error {
	switch r := f.Result; {
	case r.Verdict == explain.Dropped:
		f.way.lose(OnNode, "", "dropped by %s", r.By)
		return nil
	case r.Verdict != explain.Bypassed:
		f.way.lose(OnNode, "", "the rules send it elsewhere, or do not say what happens")
		return nil
	case !r.Source.IsValid():
		f.way.lose(OnNode, f.Change, "it keeps the node's own source address, so the pod takes it for ordinary traffic")
		return nil
	}
	f.source = f.Result.Source
	f.way.add(OnNode, "it gets the source address %s: %s", f.source, sourceStep(f.Result))
	route, why, err := lookup(f.ctx, f.Node.Namespace, rtnetlink.Packet{To: f.Packet.Destination, From: f.From}, rtnetlink.Link{})
	if err != nil {
		return err
	}
	if why != "" {
		f.way.lose(OnNode, "", "%s to %s", why, f.Packet.Destination)
		return nil
	}
	if route.Source.IsValid() && !f.From.IsValid() {
		// Who does not choose gets this one.
		f.Packet.Source = route.Source
	}
	f.node = f.Packet.Source
	if f.out, err = rtnetlink.LinkByIndex(f.ctx, f.Node.Namespace, route.Link); err != nil {
		return fmt.Errorf("failed to find the interface to %s: %w", f.Packet.Destination, err)
	}
	if err := f.findPair(); err != nil {
		return err
	}
	if f.pair.Index != 0 && !f.leadsToPair() {
		f.way.lose(OnNode, f.PodInterfaces, "it leaves %s, not by %s, which leads to the pod: nobody beyond knows the address %s", by(f.out.Name, route), f.pair.Name, f.source)
		return nil
	}
	f.way.add(OnNode, "it leaves %s", by(f.out.Name, route))
	return nil
}

// sourceStep returns the rule that gives the source address, as a place.
func sourceStep(r explain.Result) string {
	at := slices.IndexFunc(r.Path, func(s explain.Step) bool {
		_, ok := s.Rule.Target.(iptables.SNAT)
		return ok && !s.Foreign
	})
	if at < 0 {
		return "a rule of ours"
	}
	return r.Path[at].Place()
}

// findPair finds the pair of interfaces that joins the node and the pod.
func (f *follower) findPair() (err error) {
	if f.Pod != nil {
		f.pair, f.podEnd, err = f.Pod.pair(f.ctx, f.Node.Namespace, f.Packet.Destination)
	}
	return err
}

// leadsToPair reports whether what leaves by the interface gets to the pair: it is one end of it,
// or a bridge that has it.
func (f *follower) leadsToPair() bool {
	return f.out.Index == f.pair.Index || f.pair.Master == f.out.Index
}

// returnToNode takes the answer in where the pod sends it.
func (f *follower) returnToNode() error {
	in := f.out
	if f.pair.Index != 0 && f.pair.Master == 0 {
		in = f.pair
	}
	reply := explain.Reply(f.Node.Path, f.Packet, f.source, in.Name)
	switch reply.Verdict {
	case explain.Dropped:
		f.way.lose(OnNode, "", "the answer comes in by %s, and is dropped by %s", in.Name, reply.By)
		return nil
	case explain.Bypassed:
	default:
		f.way.lose(OnNode, "", "the answer comes in by %s, and the rules send it elsewhere, or do not say what happens", in.Name)
		return nil
	}
	if reply.Untracked {
		f.way.lose(OnNode, "", "the answer comes in by %s, and %s keeps it from connection tracking: nobody knows the address %s", in.Name, reply.By, f.source)
		return nil
	}
	f.way.add(OnNode, "the answer comes in by %s, and connection tracking makes its destination %s", in.Name, f.node)
	route, why, err := lookup(f.ctx, f.Node.Namespace, rtnetlink.Packet{To: f.node, From: f.Packet.Destination, Mark: reply.Mark}, in)
	switch {
	case err != nil:
		return err
	case why == reversePath:
		f.way.lose(OnNode, looseFilter(in.Name), "%s", why)
	case why != "":
		f.way.lose(OnNode, "", "%s for the answer", why)
	case route.Type != unix.RTN_LOCAL:
		out, err := rtnetlink.LinkByIndex(f.ctx, f.Node.Namespace, route.Link)
		if err != nil {
			return fmt.Errorf("failed to find the interface of a route: %w", err)
		}
		f.way.lose(OnNode, f.PodInterfaces, "the answer is not delivered here, but leaves again %s", by(out.Name, route))
	default:
		f.way.add(OnNode, "the answer is delivered to the prober's socket")
	}
	return nil
}
