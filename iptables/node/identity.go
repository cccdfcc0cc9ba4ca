package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/files"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// identity tells network namespaces apart: the device and the inode of their file, by whatever
// path (namespaces(7)).
type identity struct{ device, inode uint64 }

// errGone says that a network namespace is not there any more.
var errGone = errors.New("the network namespace is not there any more")

// identify returns the identity of the namespace that a path leads to. It opens nothing. A file
// without a namespace, as it stays behind when one is unmounted, is gone too.
func identify(path string) (identity, error) {
	var kind unix.Statfs_t
	var s unix.Stat_t
	err := unix.Statfs(path, &kind)
	if err == nil {
		err = unix.Stat(path, &s)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ELOOP):
		return identity{}, errGone
	case err != nil:
		return identity{}, err
	case kind.Type != unix.NSFS_MAGIC:
		return identity{}, errGone
	}
	return identity{s.Dev, s.Ino}, nil
}

// processFile returns the file of a process's network namespace.
func (n *Node) processFile(pid int) string {
	return filepath.Join(n.processFolder(pid), "ns", "net")
}

// Open returns the pod's network namespace. It is errGone if the pod has ended.
func (p *Pod) Open() (*namespace.Namespace, error) {
	err := errGone
	for _, path := range p.paths {
		ns, openErr := openAs(path, p.identity)
		if openErr == nil {
			return ns, nil
		}
		if !errors.Is(openErr, errGone) {
			err = openErr
		}
	}
	return nil, err
}

// openAs opens a path if it still leads to that namespace. Only a file that has been found to be
// a namespace is opened for more than that.
func openAs(path string, want identity) (*namespace.Namespace, error) {
	found, err := os.OpenFile(path, unix.O_PATH, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, files.Reason(err)
	}
	defer found.Close()
	// The same file, whatever its name leads to now (proc(5)).
	same := fmt.Sprintf("/proc/self/fd/%d", found.Fd())
	if have, err := identify(same); err != nil || have != want {
		return nil, errGone
	}
	if namespace.ProcessOf(path) == 0 {
		return namespace.Open(same)
	}
	// By its process the namespace has name servers.
	ns, err := namespace.Open(path)
	if err != nil {
		return namespace.Open(same)
	}
	if file, err := ns.File(); err == nil {
		var s unix.Stat_t
		if unix.Fstat(int(file.Fd()), &s) == nil && (identity{s.Dev, s.Ino}) == want {
			return ns, nil
		}
	}
	return nil, errors.Join(errGone, ns.Close())
}
