package pod

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// UnmappedID is a user or group that no process in a network namespace can be.
type UnmappedID struct {
	// Option is the option that names it, such as "proxy-uid".
	Option string
	ID     uint32
	// File is the file in procfs that lists the ids that exist there.
	File string
}

// UnmappedIDs returns the users and groups among named that the user namespace which owns
// the network namespace does not map. Rules about them would never match.
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
