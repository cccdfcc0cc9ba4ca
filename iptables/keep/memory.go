package keep

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Memory is what sets held when they were seen last. Others change them meanwhile, as a mesh's
// agent does for each pod, and that counts. But a set that is gone, or that has lost everything,
// was likely not emptied for the sake of pods: then it gets back those that there still are.
type Memory struct {
	// Pods returns which addresses are those of pods; nil if nobody knows.
	Pods func() map[netip.Addr]bool

	held map[string][]netip.Addr
}

// Recall returns the addresses that all sets are to hold together, and remembers them.
func (m *Memory) Recall(have []iptables.AddressSet) []netip.Addr {
	if m.held == nil {
		m.held = make(map[string][]netip.Addr)
	}
	for _, s := range have {
		if len(s.Addresses) > 0 {
			m.held[s.Name] = slices.Clone(s.Addresses)
		} else {
			m.held[s.Name] = m.remaining(m.held[s.Name])
		}
	}
	var all []netip.Addr
	for _, addresses := range m.held {
		all = append(all, addresses...)
	}
	return all
}

// remaining returns those that an emptied set is to have. If nobody knows which pods there are,
// one is taken for a pod that has ended, and several for a set that was flushed.
func (m *Memory) remaining(held []netip.Addr) []netip.Addr {
	if len(held) == 0 {
		return nil
	}
	if pods := m.Pods(); pods != nil {
		return slices.DeleteFunc(slices.Clone(held), func(a netip.Addr) bool { return !pods[a] })
	}
	if len(held) == 1 {
		return nil
	}
	return held
}
