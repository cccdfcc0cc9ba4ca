// Package userns finds the user namespace that owns a network namespace. The kernel knows
// senders of packets by its ids (user_namespaces(7)).
package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Thread is the calling thread as a process in procfs, see [IsOf].
const Thread = "/proc/thread-self"

// getUserNS is NS_GET_USERNS of linux/nsfs.h (ioctl_ns(2)).
const getUserNS = 0xb701

// OwnerOf returns the identity of the user namespace that owns a network namespace, given
// the latter's file or why there is none. It is nil if that is unknown: if the owner is
// neither the thread's own user namespace nor within that, or in sandboxes without /proc
// or the call.
func OwnerOf(network *os.File, fileErr error) (os.FileInfo, error) {
	if errors.Is(fileErr, fs.ErrNotExist) || errors.Is(fileErr, fs.ErrPermission) {
		return nil, nil
	}
	if fileErr != nil {
		return nil, fmt.Errorf("failed to identify the network namespace: %w", fileErr)
	}
	fd, err := unix.IoctlRetInt(int(network.Fd()), getUserNS)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTTY) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to find the user namespace of the network namespace: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	return owner.Stat()
}

// IsOf reports whether a process, given as a directory of procfs, is in a user namespace
// that OwnerOf returned.
func IsOf(process string, namespace os.FileInfo) bool {
	info, err := os.Stat(process + "/ns/user")
	return err == nil && namespace != nil && os.SameFile(info, namespace)
}
