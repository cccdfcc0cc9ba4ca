package host

import (
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// OtherProcesses returns the processes in a network namespace, apart from this one, as
// directories of procfs.
func OtherProcesses(ns *namespace.Namespace) iter.Seq[string] {
	return func(yield func(string) bool) {
		here, err := procNetOf(ns)
		if err != nil {
			return
		}
		processes, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return
		}
		this := fmt.Sprintf("/proc/%d", os.Getpid())
		for _, p := range processes {
			// Their links ns/net are for those who may trace them (proc(5)).
			if p != this && here.isOf(p) && !yield(p) {
				return
			}
		}
	}
}

// procNet identifies a network namespace by a file that everyone may stat. procfs makes one for
// each namespace, with its own inode number (fs/proc/generic.c, proc_register).
type procNet struct{ device, inode uint64 }

func readProcNet(process string) (procNet, error) {
	path := process + "/net/dev"
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return procNet{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return procNet{uint64(s.Dev), s.Ino}, nil
}

func procNetOf(ns *namespace.Namespace) (n procNet, err error) {
	err = ns.Do(func() (err error) {
		n, err = readProcNet("/proc/thread-self")
		return err
	})
	return n, err
}

// isOf reports whether a process is in the namespace.
func (n procNet) isOf(process string) bool {
	other, err := readProcNet(process)
	return err == nil && n == other
}
