package routes

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/gvisor"
)

// ErrConflict is wrapped by errors about foreign routes in the way.
var ErrConflict = errors.New("conflicting route")

// alreadyMade reports whether an error means that the change was made already.
func (c Change) alreadyMade(err error) bool {
	if c.Action == Add {
		return errors.Is(err, unix.EEXIST)
	}
	// Rules, routes and addresses each have an errno of their own for it
	// (net/core/fib_rules.c, net/ipv4/fib_trie.c, net/ipv6/addrconf.c).
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// describe says which change failed, and what helps if that is known. The errno stays in
// the chain; EPERM is [io/fs.ErrPermission].
func describe(c Change, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.EPERM):
		hint = "\nhint: run with the capability NET_ADMIN"
	case errors.Is(err, unix.EOPNOTSUPP) && gvisor.Here():
		hint = "\nhint: gVisor has no policy routing: only sidecars that get connections by REDIRECT can be there"
	case c.Object.Kind == Rule && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		hint = "\nhint: the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES)"
		if c.Object.Without != "" {
			hint += "; " + c.Object.Without + " needs none"
		}
	}
	return fmt.Errorf("failed to change routing: %s: %w%s", c, err, hint)
}
