package nftables

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// ErrMissing means that the kernel lacks something. A lack of privilege is
// [io/fs.ErrPermission].
var ErrMissing = errors.New("not available")

// Error is the kernel's refusal of one request. [errors.Is] finds the errno.
type Error struct {
	// Operation is the request, such as "add a rule to chain OUTPUT of table ip nat".
	Operation string
	// Rule is its rule, as iptables-save prints it, or empty.
	Rule  string
	Errno unix.Errno
	// Kernel is the kernel's own explanation, if it gave any.
	Kernel string
	// Kind is [ErrMissing] or nil.
	Kind error
	// Hint is what helps, or empty.
	Hint string

	meaning string // what the errno means for this request
}

// Error returns the message, with the hint at its end.
func (e *Error) Error() string {
	s := "failed to " + e.Operation
	if e.Rule != "" {
		s += " (" + e.Rule + ")"
	}
	for _, part := range []string{e.meaning, e.Errno.Error(), e.Kernel} {
		if part != "" {
			s += ": " + part
		}
	}
	return s + withHint(e.Hint)
}

// Unwrap returns the errno and the kind.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Errno}
	}
	return []error{e.Errno, e.Kind}
}

func withHint(hint string) string {
	if hint == "" {
		return ""
	}
	return "\nhint: " + hint
}

// ReplaceError is the failure of [Backend.Replace].
type ReplaceError struct {
	// Err is the cause.
	Err error
	// Unknown says that the kernel's answer was lost: the rules are all old or all new.
	// Otherwise the old rules are still in place.
	Unknown bool
}

// Unwrap returns the cause.
func (e *ReplaceError) Unwrap() error { return e.Err }

// Error returns the message, with the cause's hint at its end.
func (e *ReplaceError) Error() string {
	cause, hint, _ := strings.Cut(e.Err.Error(), "\nhint: ")
	s := "failed to write rules: " + cause
	if e.Unknown {
		s += "\neither the old rules are in place, or all of the new ones"
	} else {
		s += "\nthe old rules are still in place"
	}
	return s + withHint(hint)
}

// tooLargeError adds what helps.
type tooLargeError struct{ *netlink.TooLargeError }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the rules are one transaction of %d bytes, more than a socket may send here", e.Size) +
		withHint(fmt.Sprintf("raise the node's sysctl net.core.wmem_max to %d", e.Size))
}

// isTransient reports whether the request may succeed if it is made again from the
// kernel's new state.
func isTransient(err error) bool {
	var errno unix.Errno
	var refusal *netlink.Refusal
	var refused *Error
	switch {
	case errors.As(err, &refusal):
		errno = refusal.Errno
	case errors.As(err, &refused):
		errno = refused.Errno
	}
	switch errno {
	case unix.ERESTART, unix.EAGAIN, unix.EINTR:
		// The generation differs; a module was loaded meanwhile.
		return true
	}
	return errors.Is(err, netlink.ErrChanged)
}
