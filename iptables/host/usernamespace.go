package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// IDMaps are the users and groups that exist where a network namespace belongs.
type IDMaps struct {
	// Users and Groups are nil where they are not known.
	Users, Groups IDMap
	// From is the directory of procfs in which "uid_map" and "gid_map" have
	// them.
	From string
}

// nsGetUserNS is NS_GET_USERNS of linux/nsfs.h (ioctl_ns(2)).
const nsGetUserNS = 0xb701

// MappedIDs returns the users and groups of the user namespace that owns the
// calling thread's network namespace: by these the kernel knows who sends a packet
// in it. They are not known if that user namespace is out of this one's sight, or
// no process is in it.
func MappedIDs() (IDMaps, error) {
	owner, err := owningUserNamespace()
	if err != nil || owner == nil {
		return IDMaps{}, err
	}
	const own = "/proc/thread-self"
	if isUserNamespaceOf(own, owner) {
		return readIDMaps(own)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return IDMaps{}, err
	}
	for _, p := range processes {
		if !isUserNamespaceOf(p, owner) {
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

// owningUserNamespace returns what identifies it, or nil where it is an outer one.
func owningUserNamespace() (os.FileInfo, error) {
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("failed to identify the network namespace: %w", err)
	}
	defer network.Close()
	fd, err := unix.IoctlRetInt(int(network.Fd()), nsGetUserNS)
	if errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to find the user namespace of the network namespace: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	return owner.Stat()
}

func isUserNamespaceOf(process string, owner os.FileInfo) bool {
	info, err := os.Stat(process + "/ns/user")
	return err == nil && os.SameFile(info, owner)
}

func readIDMaps(process string) (IDMaps, error) {
	users, err := readIDMap(process + "/uid_map")
	if err != nil {
		return IDMaps{}, err
	}
	groups, err := readIDMap(process + "/gid_map")
	return IDMaps{users, groups, process}, err
}
