package explain

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

func (w *walker) matches(r *iptables.Rule) (bool, error) {
	p := &w.packet
	if !matchesAddress(r.Source, p.Source) || !matchesAddress(r.Destination, p.Destination) ||
		!matchesInterface(r.In, p.In) || !matchesInterface(r.Out, p.Out) ||
		!matchesProtocol(r.Protocol, p.Protocol) {
		return false, nil
	}
	for _, m := range r.Uncommented().Matches {
		if matched, err := w.matchesExtension(m); err != nil || !matched {
			return false, err
		}
	}
	return true, nil
}

func matchesAddress(m iptables.Address, a netip.Addr) bool {
	return m == (iptables.Address{}) || m.Prefix.Contains(a) != m.Not
}

func matchesInterface(m iptables.Interface, name string) bool {
	if m == (iptables.Interface{}) {
		return true
	}
	if prefix, wildcard := strings.CutSuffix(m.Name, "+"); wildcard {
		return strings.HasPrefix(name, prefix) != m.Not
	}
	return (m.Name == name) != m.Not
}

func matchesProtocol(m iptables.ProtocolMatch, proto iptables.Protocol) bool {
	return m == (iptables.ProtocolMatch{}) || (m.Protocol == proto) != m.Not
}

func (w *walker) matchesExtension(m iptables.Match) (bool, error) {
	p := &w.packet
	switch m := m.(type) {
	case iptables.Ports:
		return p.Protocol == m.Protocol &&
			matchesPort(m.Source, p.SourcePort) && matchesPort(m.Destination, p.DestinationPort), nil
	case iptables.Multiport:
		return matchesAnyPort(m, p.SourcePort, p.DestinationPort) != m.Not, nil
	case iptables.Owner:
		return matchesOwner(m, p.Owner), nil
	case iptables.Conntrack:
		return (m.States&w.state() != 0) != m.Not, nil
	case iptables.Mark:
		return (w.result.Mark&m.Mask == m.Value) != m.Not, nil
	case iptables.Connmark:
		// Without a connection it matches nothing, nor does its opposite.
		return w.isConnected() && (w.result.ConnMark&m.Mask == m.Value) != m.Not, nil
	case iptables.Set:
		return matchesSet(m, p), nil
	case iptables.UnknownMatch:
		return false, fmt.Errorf("unknown match %s", strings.TrimSpace(m.Name+" "+strings.Join(m.Args, " ")))
	}
	return false, fmt.Errorf("unknown match %T", m)
}

// isConnected reports whether the packet has a connection, or the template of one, as
// which it has a zone. The table raw comes before connections are tracked
// (NF_IP_PRI_CONNTRACK in linux/netfilter_ipv4.h).
func (w *walker) isConnected() bool {
	return w.table.Name != iptables.Raw || w.tracked || w.result.Zone != 0
}

// state returns the state of the packet's connection, which without any is INVALID
// (conntrack_mt in net/netfilter/xt_conntrack.c, and nft_ct_get_eval in nft_ct.c).
func (w *walker) state() iptables.CTState {
	if !w.isConnected() {
		return iptables.StateInvalid
	}
	return w.packet.State
}

func matchesPort(m iptables.PortMatch, port uint16) bool {
	return !m.Set || m.Range.Contains(port) != m.Not
}

func matchesAnyPort(m iptables.Multiport, source, destination uint16) bool {
	for _, r := range m.Ports {
		if m.Side != iptables.DestinationPorts && r.Contains(source) ||
			m.Side != iptables.SourcePorts && r.Contains(destination) {
			return true
		}
	}
	return false
}

func matchesOwner(m iptables.Owner, owner *Owner) bool {
	if owner == nil {
		return (!m.UID.Set || m.UID.Not) && (!m.GID.Set || m.GID.Not)
	}
	return matchesID(m.UID, owner.UID) && matchesID(m.GID, owner.GID)
}

func matchesID(m iptables.IDMatch, id uint32) bool {
	return !m.Set || (m.First <= id && id <= m.Last) != m.Not
}

// matchesSet looks a field up. A packet without an owner has no id that could be
// in a set, nor one that could be outside of it.
func matchesSet(m iptables.Set, p *Packet) bool {
	value, ok := valueOf(m.Field, p)
	return ok && m.Contains(value) != m.Not
}

// valueOf returns what a packet has in a field, if it has it.
func valueOf(f iptables.SetField, p *Packet) (v iptables.Value, ok bool) {
	owner := p.Owner
	if owner == nil {
		owner = &Owner{}
	}
	switch f {
	case iptables.SourceAddress:
		return iptables.Value(p.Source.AsSlice()), true
	case iptables.DestinationAddress:
		return iptables.Value(p.Destination.AsSlice()), true
	case iptables.InInterface:
		return iptables.InterfaceInterval(p.In).First, true
	case iptables.OutInterface:
		return iptables.InterfaceInterval(p.Out).First, true
	case iptables.SourcePort:
		return iptables.PortInterval(iptables.Port(p.SourcePort)).First, true
	case iptables.DestinationPort:
		return iptables.PortInterval(iptables.Port(p.DestinationPort)).First, true
	case iptables.OwnerUID:
		return iptables.IDInterval(owner.UID, owner.UID).First, p.Owner != nil
	case iptables.OwnerGID:
		return iptables.IDInterval(owner.GID, owner.GID).First, p.Owner != nil
	}
	return "", false
}
