package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

const namespaceOption = "network-namespace"

// place is where the work is done: the calling thread's own namespace, or the one
// that --network-namespace names.
type place struct {
	// path is the file of the network namespace, empty for the own one.
	path string
	// pid is a process in it, 0 where none is known.
	pid int
}

// processFile is the file that procfs has for a process's network namespace.
var processFile = regexp.MustCompile(`^/proc/([0-9]+)/ns/net$`)

// placeOf reads the value of --network-namespace: a process id or a file.
func placeOf(value string) place {
	if pid, err := strconv.ParseUint(value, 10, 31); err == nil {
		return place{fmt.Sprintf("/proc/%d/ns/net", pid), int(pid)}
	}
	p := place{path: value}
	if m := processFile.FindStringSubmatch(value); m != nil {
		p.pid, _ = strconv.Atoi(m[1])
	}
	return p
}

// enter moves the calling goroutine for good to the network namespace: what it does
// from now on, and the programs that it starts, are there; other goroutines are not.
// Errors do not say which was named.
func (p place) enter() error {
	if p.path == "" {
		return nil
	}
	runtime.LockOSThread()
	ns, err := netns.GetFromPath(p.path)
	if errors.Is(err, fs.ErrNotExist) && p.pid != 0 {
		return errors.New("there is no such process")
	}
	if err != nil {
		err = fmt.Errorf("must be a process id or the file of a network namespace: %w", err)
		if file := namedNamespace(p.path); errors.Is(err, fs.ErrNotExist) && file != "" {
			err = fmt.Errorf("%w\n%sdid you mean %s?", err, hintPrefix, file)
		}
		return err
	}
	defer ns.Close()
	switch err := netns.Set(ns); {
	case errors.Is(err, unix.EINVAL):
		// So setns(2) says of a file that is none, or of another kind.
		return errors.New("is not a network namespace")
	case err != nil:
		return fmt.Errorf("failed to enter: %w", err)
	}
	return nil
}

// namedNamespace returns the file that ip-netns(8) has for a name, or "" if there
// is none.
func namedNamespace(name string) string {
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

// resolvConf returns the file that the place's name servers are in: that of a process
// there. Of a network namespace alone, a process has to be looked for, if the name
// servers matter; without one it is the file of this machine, which is not known to be
// the right one.
func (p place) resolvConf(matters bool) (path string, known bool) {
	switch {
	case p.pid != 0:
		return fmt.Sprintf("/proc/%d/root%s", p.pid, host.ResolvConf), true
	case p.path == "" || !matters:
		return host.ResolvConf, true
	}
	if path, ok := host.FindResolvConf(); ok {
		return path, true
	}
	return host.ResolvConf, false
}

// programOptions keep the programs that work on a pod from waiting for those that work
// on the node: the usual lock, /run/xtables.lock, is the node's. Copies of this program
// lock the namespace themselves, and the kernel refuses to replace a table that
// somebody has changed meanwhile (do_replace in net/ipv4/netfilter/ip_tables.c). What
// stands in the lock's place is a file that each program has to itself.
func (p place) programOptions() xtables.Options {
	if p.path == "" {
		return xtables.Options{}
	}
	return xtables.Options{LockFile: "/proc/self/net/dev"}
}

// checkIDs refuses users and groups that nobody can be in the network namespace,
// because the user namespace that owns it does not map them: rules about them
// would never match.
func (c *command) checkIDs(named []capture.IDs) error {
	maps, err := host.MappedIDs()
	if err != nil {
		return err
	}
	var errs []error
	check := func(option, file string, ids []uint32, mapped host.IDMap) {
		for _, id := range ids {
			if mapped != nil && !mapped.Has(id) {
				errs = append(errs, fmt.Errorf("%s: %d does not exist in the user namespace that owns the network namespace\n"+
					hintPrefix+"%s/%s has the ids that do", cmp.Or(c.line.flags.Given(option), "--"+option), id, maps.From, file))
			}
		}
	}
	for _, n := range named {
		check(n.Option, "uid_map", n.Users, maps.Users)
		check(n.Option, "gid_map", n.Groups, maps.Groups)
	}
	return errors.Join(errs...)
}
