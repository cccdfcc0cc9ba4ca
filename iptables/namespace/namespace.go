// Package namespace has a network namespace as a value, with its sockets. Code that reads
// or changes something in a namespace is given that value.
//
// A socket stays in the namespace in which it was opened, whatever thread uses it. So a
// thread moves there only to open sockets, to start programs and to read files of /proc
// that depend on the calling thread; see [Namespace.Do].
package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// Namespace is a network namespace. Only one goroutine may use it at a time.
type Namespace struct {
	// file is the namespace's file. It is nil if our own namespace has none; fileErr says
	// why.
	file    *os.File
	fileErr error
	own     bool
	pid     int // or 0

	dial               func() (netlink.Socket, error)
	netfilter, routing *netlink.Conn
}

const threadFile = "/proc/thread-self/ns/net"

// Own returns the namespace of the calling thread. It has to be used from threads in that
// namespace: any thread of a process that has moved none.
func Own() *Namespace {
	n := &Namespace{own: true, dial: dialNetfilter}
	n.file, n.fileErr = os.Open(threadFile)
	return n
}

// ProcessOf returns the process of a file such as /proc/PID/ns/net (proc(5)), or 0.
func ProcessOf(name string) int {
	rest, isProcess := strings.CutPrefix(name, "/proc/")
	text, isNamespace := strings.CutSuffix(rest, "/ns/net")
	pid, err := strconv.ParseUint(text, 10, 31)
	if !isProcess || !isNamespace || err != nil {
		return 0
	}
	return int(pid)
}

// Open returns the namespace of a process id or of a file, such as /run/netns/NAME. It
// tries to enter, which takes CAP_SYS_ADMIN (setns(2)). Errors do not name the process or
// file.
func Open(name string) (*Namespace, error) {
	n := &Namespace{dial: dialNetfilter}
	path := name
	if pid, err := strconv.ParseUint(name, 10, 31); err == nil {
		path, n.pid = fmt.Sprintf("/proc/%d/ns/net", pid), int(pid)
	} else {
		n.pid = ProcessOf(name)
	}
	var err error
	if n.file, err = os.Open(path); err != nil {
		return nil, n.openError(path, err)
	}
	if err := n.Do(func() error { return nil }); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// New makes a namespace that has no name and goes when it is closed. It takes CAP_SYS_ADMIN
// (unshare(2)).
func New() (*Namespace, error) {
	n := &Namespace{dial: dialNetfilter}
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		back := wayBack()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open(threadFile)
		}
		if back() {
			runtime.UnlockOSThread()
		}
		// Otherwise the thread ends with the goroutine: nobody else could use it.
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("failed to make a network namespace: %w", err)
	}
	return n, nil
}

func (n *Namespace) openError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && n.pid != 0 {
		return errors.New("there is no such process")
	}
	cause := err
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		cause = failed.Err
	}
	cause = fmt.Errorf("must be a process id or the file of a network namespace: %w", cause)
	if file := fileOfName(path); errors.Is(err, fs.ErrNotExist) && file != "" {
		return fmt.Errorf("%w\nhint: did you mean %s?", cause, file)
	}
	return cause
}

// fileOfName returns ip-netns(8)'s file for a name, or "" if there is none.
func fileOfName(name string) string {
	if strings.Contains(name, "/") {
		return ""
	}
	for _, folder := range []string{"/run/netns", "/var/run/netns"} {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// Close closes the sockets. Tables that belong to a socket go with it.
func (n *Namespace) Close() error {
	var errs []error
	for _, c := range []*netlink.Conn{n.netfilter, n.routing} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if n.file != nil {
		errs = append(errs, n.file.Close())
	}
	return errors.Join(errs...)
}

// IsOwn reports whether it is the calling thread's original namespace.
func (n *Namespace) IsOwn() bool { return n.own }

// PID returns the process named to [Open], which is in the namespace, or 0.
func (n *Namespace) PID() int { return n.pid }

// File returns the file of the namespace, which identifies it. It stays open as long as
// the namespace. In sandboxes without /proc our own namespace has none.
func (n *Namespace) File() (*os.File, error) { return n.file, n.fileErr }

// Do calls f on a thread that stays in the namespace until f returns: the calling thread
// in our own namespace, else one that moves there. Sockets that f opens and programs that
// it starts are in the namespace; goroutines that it starts are on other threads. f must
// not end the goroutine.
func (n *Namespace) Do(f func() error) error {
	if n.own {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		back := wayBack()
		err := n.enter()
		if err == nil {
			err = f()
		}
		if back() {
			runtime.UnlockOSThread()
		}
		// Otherwise the thread ends with the goroutine: nobody else could use it.
		result <- err
	}()
	return <-result
}

// wayBack returns a function that moves the calling thread back to its present namespace,
// and reports whether it did.
func wayBack() func() bool {
	here, err := os.Open(threadFile)
	if err != nil {
		return func() bool { return false }
	}
	return func() bool {
		defer here.Close()
		return unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil
	}
}

func (n *Namespace) enter() error {
	switch err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); {
	case errors.Is(err, unix.EINVAL):
		// setns(2) answers this for a file that is no namespace, or one of another kind.
		return errors.New("is not a network namespace")
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("failed to enter: %w\nhint: run with the capability SYS_ADMIN", err)
	case err != nil:
		return fmt.Errorf("failed to enter: %w", err)
	}
	return nil
}

// ReadFile reads a file of procfs that depends on the calling thread's namespace.
func (n *Namespace) ReadFile(path string) (text []byte, err error) {
	err = n.Do(func() (err error) {
		text, err = os.ReadFile(path)
		return err
	})
	return text, err
}
