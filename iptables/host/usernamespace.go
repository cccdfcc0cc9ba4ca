package host

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/userns"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// IDMaps are the users and groups that exist in the user namespace that owns a
// network namespace.
type IDMaps struct {
	// Users and Groups are nil if unknown.
	Users, Groups IDMap
	// From is the directory of procfs whose "uid_map" and "gid_map" list them.
	From string
}

// MappedIDs returns the users and groups of the user namespace that owns a network
// namespace. The kernel identifies the sender of a packet there by these ids. They
// are unknown if this process cannot see that user namespace, or if no process is
// in it.
func MappedIDs(ns *namespace.Namespace) (IDMaps, error) {
	owner, err := userns.OwnerOf(ns.File())
	if err != nil || owner == nil {
		return IDMaps{}, err
	}
	if userns.IsOf(userns.Thread, owner) {
		return readIDMaps(userns.Thread)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return IDMaps{}, err
	}
	for _, p := range processes {
		if !userns.IsOf(p, owner) {
			continue
		}
		maps, err := readIDMaps(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			// The process has ended meanwhile.
			continue
		}
		return maps, err
	}
	return IDMaps{}, nil
}

func readIDMaps(process string) (IDMaps, error) {
	users, err := readIDMap(process + "/uid_map")
	if err != nil {
		return IDMaps{}, err
	}
	groups, err := readIDMap(process + "/gid_map")
	return IDMaps{users, groups, process}, err
}
