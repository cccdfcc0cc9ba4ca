package host

import (
	"errors"
	"io/fs"
	"os"
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
	// own says that it is this process's user namespace.
	own bool
}

// User returns the number of a user there, given the one that this process knows it by, and
// whether that is known. Group is the same for groups.
func (m *IDMaps) User(outside uint32) (id uint32, ok bool)  { return m.inside(m.Users, outside) }
func (m *IDMaps) Group(outside uint32) (id uint32, ok bool) { return m.inside(m.Groups, outside) }

func (m *IDMaps) inside(ids IDMap, outside uint32) (id uint32, ok bool) {
	if m.own {
		// Its map says what they are outside that namespace.
		return outside, true
	}
	return ids.Inside(outside)
}

// MappedIDs returns the users and groups of the user namespace that owns a network
// namespace. The kernel identifies the sender of a packet there by these ids. They
// are unknown if this process cannot see that user namespace, or if no process is
// in it. Processes in the network namespace, if they are known, are looked at first; they are
// directories of procfs.
func MappedIDs(ns *namespace.Namespace, processes ...string) (IDMaps, error) {
	owner, err := userns.OwnerOf(ns.File())
	if err != nil || owner == nil {
		return IDMaps{}, err
	}
	if userns.IsOf(userns.Thread, owner) {
		maps, err := readIDMaps(userns.Thread)
		maps.own = true
		return maps, err
	}
	if maps, found, err := findIDMaps(processes, owner); found {
		return maps, err
	}
	if processes, err = filepath.Glob("/proc/[0-9]*"); err != nil {
		return IDMaps{}, err
	}
	maps, _, err := findIDMaps(processes, owner)
	return maps, err
}

// findIDMaps reads the maps of the first process that is in a user namespace.
func findIDMaps(processes []string, owner os.FileInfo) (maps IDMaps, found bool, err error) {
	for _, p := range processes {
		if !userns.IsOf(p, owner) {
			continue
		}
		maps, err := readIDMaps(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			// The process has ended meanwhile.
			continue
		}
		return maps, true, err
	}
	return IDMaps{}, false, nil
}

func readIDMaps(process string) (IDMaps, error) {
	users, err := readIDMap(process + "/uid_map")
	if err != nil {
		return IDMaps{}, err
	}
	groups, err := readIDMap(process + "/gid_map")
	return IDMaps{Users: users, Groups: groups, From: process}, err
}
