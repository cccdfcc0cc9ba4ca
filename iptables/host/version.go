package host

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/gvisor"
)

// Version is that of a kernel, such as 6.1. The zero value stands for one that nobody knows.
type Version struct{ Major, Minor int }

// KernelVersion returns the version of the running kernel (uname(2)). That of gVisor is not known: the
// Linux that it says it is has nothing to do with its network.
func KernelVersion() Version {
	if gvisor.Here() {
		return Version{}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Version{}
	}
	return parseVersion(unix.ByteSliceToString(name.Release[:]))
}

func parseVersion(release string) Version {
	var v Version
	if _, err := fmt.Sscanf(release, "%d.%d", &v.Major, &v.Minor); err != nil {
		return Version{}
	}
	return v
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// IsBefore reports whether v is known and older than other.
func (v Version) IsBefore(other Version) bool {
	if v == (Version{}) {
		return false
	}
	return v.Major < other.Major || v.Major == other.Major && v.Minor < other.Minor
}
