package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/meshtables/meshtables/iptables/cni/cache"
)

// Uninstall removes the entry from every network of the node that has it, then the program,
// unless pods need it to end. With force it removes the program all the same.
func (n *Node) Uninstall(force bool) (Done, error) {
	return n.uninstall(func(d Done) bool { return force || d.isFree() })
}

// isFree reports whether nobody needs the program.
func (d Done) isFree() bool { return d.Pods == 0 && d.Unknown == nil }

// uninstall removes the entries, and the program if that may be.
func (n *Node) uninstall(may func(Done) bool) (Done, error) {
	done, err := n.removeEntries()
	if err != nil {
		return done, err
	}
	if _, err := os.Lstat(n.Program()); errors.Is(err, fs.ErrNotExist) {
		return done, nil
	}
	done.Pods, done.Unknown = n.needing()
	if !may(done) {
		done.Kept = true
		return done, nil
	}
	if err := os.Remove(n.Program()); err != nil {
		return done, err
	}
	done.Program = n.Program()
	return done, nil
}

// removeEntries removes the entry from every network, and the files that are ours. A file that
// cannot be read has no entry that a runtime could use.
func (n *Node) removeEntries() (done Done, err error) {
	own, dropIns, err := n.ownFiles()
	if err != nil {
		return done, err
	}
	if own != "" {
		dropIns = append(dropIns, own)
	}
	for _, file := range dropIns {
		if err := n.removeFile(file); err != nil {
			return done, err
		}
		done.Networks = append(done.Networks, file)
	}
	if err := os.Remove(n.markFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return done, err
	}
	files, err := n.networks()
	if err != nil {
		return done, err
	}
	for _, file := range files {
		changed, err := change(file, func(c *chain) (string, error) { return c.without(), nil })
		if errors.Is(err, errNoChain) {
			continue
		}
		if err != nil {
			return done, err
		}
		if changed != "" {
			done.Networks = append(done.Networks, changed)
		}
	}
	return done, nil
}

// needing returns how many pods were started with the plugin and have not ended: their entries
// are in the cache. The namespace of such a pod may be gone, as after a reboot; the runtime
// still ends it as it was started. There may be more if unknown is not nil.
func (n *Node) needing() (pods int, unknown error) {
	// A node on which pods run has the folder. Who sees none looks at another place, or from
	// within a container without it.
	if _, err := os.Stat(n.Cache); err != nil {
		return 0, fmt.Errorf("failed to read libcni's cache: %w", err)
	}
	all, broken, err := cache.Read(n.Cache)
	if err != nil {
		return 0, err
	}
	// Each interface of a pod has an entry.
	containers := make(map[string]bool)
	for _, a := range all {
		plugins, err := a.Plugins()
		if err != nil {
			broken = append(broken, cache.Broken{Path: a.Entry, Why: err.Error()})
		}
		if slices.Contains(plugins, PluginName) {
			containers[a.Container] = true
		}
	}
	return len(containers), describe(broken)
}

// describe returns an error about entries that nobody can read, or nil if there are none.
func describe(broken []cache.Broken) error {
	if len(broken) == 0 {
		return nil
	}
	others := ""
	if len(broken) > 1 {
		others = fmt.Sprintf(", and %d more like it", len(broken)-1)
	}
	return fmt.Errorf("failed to read an entry of libcni's cache: %s: %s%s", broken[0].Path, broken[0].Why, others)
}

// look is how often the cache is looked at. It is also the time that a pod has which starts
// with the chain as it was: its entry is written when all plugins have returned.
const look = 5 * time.Second

// WatchUninstall does what [Node.Uninstall] does as soon as no pod needs the program: in two
// looks in a row there is none. It tells what it did, and what it waits for when that changes.
// It returns when the program is gone, or the context is done.
func (n *Node) WatchUninstall(ctx context.Context, tell func(Done, error)) {
	told, free := "", false
	for ctx.Err() == nil {
		done, err := n.uninstall(func(d Done) bool { return free && d.isFree() && len(d.Networks) == 0 })
		free = err == nil && done.isFree()
		if now := fmt.Sprint(done.Kept, done.Pods, done.Unknown, err); done.Changed() || now != told {
			tell(done, err)
			told = now
		}
		if err == nil && !done.Kept {
			return
		}
		sleep(ctx, look)
	}
}

// CheckUninstalled returns an error if there is an entry in a network, or the program.
func (n *Node) CheckUninstalled() error {
	files, err := n.networks()
	if err != nil {
		return err
	}
	_, dropIns, err := n.ownFiles()
	if err != nil {
		return err
	}
	for _, file := range files {
		c, err := readChain(file)
		if filepath.Base(file) == OwnFile || err == nil && c.has() {
			dropIns = append(dropIns, file)
		}
	}
	if len(dropIns) > 0 {
		return fmt.Errorf("%s: there is an entry of %s", dropIns[0], PluginName)
	}
	if _, err := os.Lstat(n.Program()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pods, unknown := n.needing()
	if pods == 0 && unknown != nil {
		return unknown
	}
	return fmt.Errorf("%s is there; pods that need it to end: %d", n.Program(), pods)
}
