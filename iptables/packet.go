package iptables

import "net/netip"

// Packet is what the rules can see of a packet where it is on its way: those that it
// has met may have changed its marks and its zone.
type Packet struct {
	// Hook is the built-in chain that it enters by: PREROUTING for a packet
	// that came in, OUTPUT for one that the machine itself sends.
	Hook string

	Protocol                    Protocol
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	// In is the interface that it came in by, Out the one that it goes out
	// by; the other one is empty.
	In, Out string

	// Owner is nil for a packet that no socket of this machine sends.
	Owner *SocketOwner

	Mark uint32
	// ConnMark is the mark of its connection, State the state of it.
	ConnMark uint32
	State    CTState
	// Zone is the conntrack zone; 0 is the one of packets that no rule
	// assigned to another.
	Zone uint16
	// BeforeTracking says that the packet has not come to where connections are
	// tracked, which is after raw (NF_IP_PRI_CONNTRACK in linux/netfilter_ipv4.h).
	BeforeTracking bool
}

// SocketOwner is who made the socket that a packet comes from.
type SocketOwner struct {
	UID, GID uint32
}

// Family is the family of its addresses.
func (p *Packet) Family() Family { return FamilyOf(p.Destination) }

// HasConnection reports whether the packet has a connection, or the template of one, as
// which it has a zone.
func (p *Packet) HasConnection() bool { return !p.BeforeTracking || p.Zone != 0 }

// Matches reports whether the packet matches a rule: whether it meets all that the rule
// asks. It is an error if that depends on a match which this package does not know.
func (p *Packet) Matches(r *Rule) (bool, error) {
	if !r.Source.MetBy(p.Source) || !r.Destination.MetBy(p.Destination) ||
		!r.In.MetBy(p.In) || !r.Out.MetBy(p.Out) || !r.Protocol.MetBy(p.Protocol) {
		return false, nil
	}
	for _, m := range r.Matches {
		if met, err := m.MetBy(p); err != nil || !met {
			return false, err
		}
	}
	return true, nil
}

// Value returns what the packet has in a field. It is not ok if it has none: without
// an owner, it has no user and no group.
func (p *Packet) Value(f SetField) (v Value, ok bool) {
	owner := p.Owner
	if owner == nil {
		owner = &SocketOwner{}
	}
	switch f {
	case SourceAddress:
		return Value(p.Source.AsSlice()), true
	case DestinationAddress:
		return Value(p.Destination.AsSlice()), true
	case InInterface:
		return InterfaceInterval(p.In).First, true
	case OutInterface:
		return InterfaceInterval(p.Out).First, true
	case SourcePort:
		return PortInterval(Port(p.SourcePort)).First, true
	case DestinationPort:
		return PortInterval(Port(p.DestinationPort)).First, true
	case OwnerUID:
		return IDInterval(owner.UID, owner.UID).First, p.Owner != nil
	case OwnerGID:
		return IDInterval(owner.GID, owner.GID).First, p.Owner != nil
	}
	return "", false
}
