package iptables

import "net/netip"

// Packet is what the rules see of a packet at one point of its way. Rules before that
// point may have changed its marks and its zone.
type Packet struct {
	// Hook is the built-in chain where it enters: PREROUTING for a packet that came in,
	// OUTPUT for one that this machine sends.
	Hook string

	Protocol                    Protocol
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	// In is the interface that it came in by, Out the one that it leaves by. One of them
	// is empty.
	In, Out string

	// SourceType and DestinationType are the types of the addresses in the routing of this
	// machine (RTN_* in linux/rtnetlink.h), as iptables names them: "LOCAL" for its own.
	// Empty is unknown.
	SourceType, DestinationType string

	// Owner is nil for a packet that no socket of this machine sends.
	Owner *SocketOwner

	Mark uint32
	// ConnMark is the mark of its connection, State the connection's state.
	ConnMark uint32
	State    CTState
	// Translated says that nat has given its connection another destination.
	Translated bool
	// Zone is the conntrack zone, 0 if no rule assigned one.
	Zone uint16
	// BeforeTracking says that the packet has not reached connection tracking, which
	// comes after raw (NF_IP_PRI_CONNTRACK in linux/netfilter_ipv4.h).
	BeforeTracking bool
}

// SocketOwner is the user and group of the socket that sent a packet.
type SocketOwner struct {
	UID, GID uint32
}

// Family is the family of its addresses.
func (p *Packet) Family() Family { return FamilyOf(p.Destination) }

// HasConnection reports whether the packet has a connection, or the template of one,
// which carries a zone.
func (p *Packet) HasConnection() bool {
	return p.State != StateUntracked && (!p.BeforeTracking || p.Zone != 0)
}

// connectionState is the state that rules see: a packet without a connection is INVALID,
// unless a rule has kept it from connection tracking (conntrack_mt in
// net/netfilter/xt_conntrack.c, and nft_ct_get_eval in nft_ct.c).
func (p *Packet) connectionState() CTState {
	if p.State != StateUntracked && !p.HasConnection() {
		return StateInvalid
	}
	return p.State
}

// Matches reports whether the packet matches all conditions of a rule. It returns an
// error if that depends on a match that the packet does not decide.
func (p *Packet) Matches(r *Rule) (bool, error) {
	if !r.Source.MetBy(p.Source) || !r.Destination.MetBy(p.Destination) ||
		!r.In.MetBy(p.In) || !r.Out.MetBy(p.Out) || !r.Protocol.MetBy(p.Protocol) {
		return false, nil
	}
	var doubt error
	for _, m := range r.Matches {
		met, err := m.MetBy(p)
		switch {
		case err == nil && !met:
			return false, nil
		case doubt == nil:
			doubt = err
		}
	}
	return doubt == nil, doubt
}

// Value returns the packet's value of a field. It is not ok if there is none: a packet
// without an owner has no user and no group.
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
