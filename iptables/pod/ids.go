package pod

import (
	"github.com/meshtables/meshtables/iptables/config"
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

// UnmappedIDs returns the users and groups of a configuration that nobody can be in the
// network namespace, because the user namespace that owns it does not map them: rules
// about them would never match.
func UnmappedIDs(ns *namespace.Namespace, cfg config.Config) ([]UnmappedID, error) {
	maps, err := host.MappedIDs(ns)
	if err != nil {
		return nil, err
	}
	var all []UnmappedID
	for _, check := range []struct {
		option, file string
		ids          []uint32
		mapped       host.IDMap
	}{
		{"proxy-uid", "uid_map", cfg.ProxyUIDs, maps.Users},
		{"proxy-gid", "gid_map", cfg.ProxyGIDs, maps.Groups},
		{"included-groups", "gid_map", cfg.IncludedGroups.Groups, maps.Groups},
		{"excluded-groups", "gid_map", cfg.ExcludedGroups, maps.Groups},
		{"excluded-uids", "uid_map", bounds(cfg.ExcludedUIDs), maps.Users},
	} {
		for _, id := range check.ids {
			if check.mapped != nil && !check.mapped.Has(id) {
				all = append(all, UnmappedID{check.option, id, maps.From + "/" + check.file})
			}
		}
	}
	return all, nil
}

// bounds returns the first and the last of each range of users.
func bounds(users []config.UserTraffic) []uint32 {
	var ids []uint32
	for _, u := range users {
		ids = append(ids, u.First, u.Last)
	}
	return ids
}
