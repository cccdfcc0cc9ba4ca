package pod

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// UnmappedID is a user or group that nobody can be in a network namespace.
type UnmappedID struct {
	// Option is the name of the option that it is from, such as "proxy-uid".
	Option string
	ID     uint32
	// File is the one of procfs that has the ids that exist there.
	File string
}

// UnmappedIDs returns those of some users and groups that nobody can be in the network
// namespace, because the user namespace that owns it does not map them: rules about them
// would never match.
func UnmappedIDs(ns *namespace.Namespace, named []capture.IDs) ([]UnmappedID, error) {
	maps, err := host.MappedIDs(ns)
	if err != nil {
		return nil, err
	}
	var all []UnmappedID
	check := func(option, file string, ids []uint32, mapped host.IDMap) {
		for _, id := range ids {
			if mapped != nil && !mapped.Has(id) {
				all = append(all, UnmappedID{option, id, maps.From + "/" + file})
			}
		}
	}
	for _, n := range named {
		check(n.Option, "uid_map", n.Users, maps.Users)
		check(n.Option, "gid_map", n.Groups, maps.Groups)
	}
	return all, nil
}
