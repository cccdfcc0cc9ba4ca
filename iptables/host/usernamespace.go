package host

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/userns"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// IDMaps are the users and groups that exist where a network namespace belongs.
type IDMaps struct {
	// Users and Groups are nil where they are not known.
	Users, Groups IDMap
	// From is the directory of procfs in which "uid_map" and "gid_map" have
	// them.
	From string
}

// MappedIDs returns the users and groups of the user namespace that owns a network
// namespace: by these the kernel knows who sends a packet
// in it. They are not known if that user namespace is out of this one's sight, or
// no process is in it.
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
