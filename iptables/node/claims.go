package node

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// settle returns whose the namespace is if the cache gives it to several pods: an entry may
// stay when its pod has ended. It is the one whose addresses are there. If that does not tell,
// it is the first of them if all ask for the same; else nobody knows, and ok is false.
func (p *Pod) settle(there []netip.Prefix) (owner Pod, ok bool) {
	if len(p.rivals) == 0 {
		return *p, true
	}
	all := append([]Pod{*p}, p.rivals...)
	present := slices.DeleteFunc(slices.Clone(all), func(c Pod) bool { return !c.isAt(there) })
	if len(present) == 0 {
		present = all
	}
	owner = *p
	owner.Namespace, owner.Name, owner.Annotations, owner.uid = present[0].Namespace, present[0].Name, present[0].Annotations, present[0].uid
	for _, other := range present[1:] {
		if !maps.Equal(other.Annotations, owner.Annotations) {
			return *p, false
		}
	}
	return owner, true
}

// isAt reports whether the namespace has all addresses that the cache says.
func (p *Pod) isAt(there []netip.Prefix) bool {
	for _, a := range p.addresses {
		if !slices.ContainsFunc(there, func(p netip.Prefix) bool { return p.Addr() == a.Unmap() }) {
			return false
		}
	}
	return len(p.addresses) > 0
}

// names returns the names of all pods that the cache gives the namespace to.
func (p *Pod) names() string {
	names := []string{p.String()}
	for _, r := range p.rivals {
		names = append(names, r.String())
	}
	return strings.Join(names, " and ")
}
