// Package sysctl reads and sets what the kernel lets each network namespace have for itself
// (sysctl(8), Documentation/admin-guide/sysctl/net.rst).
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Change sets a sysctl that is not as wanted.
type Change struct {
	iptables.Sysctl
	// before is its value until then.
	before string
}

// Diff returns the changes that make all sysctls as wanted: those that rules need, and those
// that are only advised. What a namespace does not have is not as wanted; to change it fails.
func Diff(ns *namespace.Namespace, want []iptables.Sysctl) (needed, advised []Change, err error) {
	for _, s := range want {
		before, err := read(ns, s.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%sfailed to read %s: %w", by(s), s.Name, cause(err))
		}
		switch {
		case before == s.Value:
		case s.Without == "":
			needed = append(needed, Change{s, before})
		default:
			advised = append(advised, Change{s, before})
		}
	}
	return needed, advised, nil
}

// by returns the option that sets it, as the beginning of a message.
func by(s iptables.Sysctl) string {
	if s.Option == "" {
		return ""
	}
	return s.Option + ": "
}

// Apply makes the change.
func (c Change) Apply(ns *namespace.Namespace) error {
	return describe(c.Sysctl, write(ns, c.Name, c.Value))
}

// Undo sets the value of before.
func (c Change) Undo(ns *namespace.Namespace) error {
	return describe(c.Sysctl, write(ns, c.Name, c.before))
}

// path returns the file of a sysctl (proc(5)). What it shows under net depends on the thread
// that opens it.
func path(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func read(ns *namespace.Namespace, name string) (string, error) {
	text, err := ns.ReadFile(path(name))
	return strings.TrimSpace(string(text)), err
}

func write(ns *namespace.Namespace, name, value string) error {
	return ns.Do(func() error {
		f, err := os.OpenFile(path(name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(value)
		return errors.Join(err, f.Close())
	})
}

// describe says what cannot be set, by which option, and what is missing.
func describe(s iptables.Sysctl, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("%sfailed to set %s", by(s), s.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: the network namespace has no such setting\n"+
			"hint: conntrack has to be loaded (modprobe nf_conntrack), and the kernel may keep it from namespaces of other users than the machine's", what)
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w\n"+
			"hint: the container has to be allowed to write to /proc/sys: a privileged one is; or let the pod set it (securityContext.sysctls), or leave the option out", what, cause(err))
	}
	return fmt.Errorf("%s: %w", what, cause(err))
}

// cause leaves out the file, which says no more than the sysctl's name.
func cause(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
