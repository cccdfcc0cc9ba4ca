// Package install puts the CNI plugin on a node and takes it away again: the program in the
// folder of the node's plugins, and its entry at the end of the chain of the network that
// the container runtime uses.
//
// Whatever it is killed at, the runtime finds the old file or the new one, and the entry is
// never there without the program. Some runtimes end a pod with the chain that it was started
// with, so the program stays until all these pods have ended.
package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// PluginName is the name of the program in the folder of plugins, by which its entry names it.
const PluginName = "meshtables"

// The folders of a node where runtimes look, unless they are told otherwise.
const (
	DefaultPlugins  = "/opt/cni/bin"
	DefaultNetworks = "/etc/cni/net.d"
)

// Node is where things are on a node.
type Node struct {
	// Plugins is the folder of the plugins' programs.
	Plugins string
	// Networks is the folder of the networks' configurations.
	Networks string
	// Network is the name of the file of the network to change, for a runtime that was told
	// its network's name. If it is empty, that is the first file in order.
	Network string
	// Cache is the folder of libcni's cache, which says what pods were started with.
	Cache string
}

// Done says what was done. Each field is empty if there was nothing to do.
type Done struct {
	// Program is where the program was copied to, or removed from.
	Program string
	// Networks are the files that were changed.
	Networks []string
	// Kept says that the program was not removed.
	Kept bool
	// Pods is how many pods the runtime cannot end without the program, by its cache.
	Pods int
	// Unknown says why there may be more of them; nil if there are not.
	Unknown error
}

// Changed reports whether anything was done.
func (d Done) Changed() bool { return d.Program != "" || len(d.Networks) > 0 }

// Program returns the path of the plugin on the node.
func (n *Node) Program() string { return filepath.Join(n.Plugins, PluginName) }

// Install copies the program of this process and adds the entry, where they are not there as
// they should be. Without a network to add it to nothing is done.
func (n *Node) Install(e Entry) (Done, error) {
	return n.place(copyProgram, func(c *chain) (string, error) { return c.with(e) })
}

// Mend does what [Node.Install] does, for whoever stays to keep things in place. It leaves a
// program and an entry alone that are not this one's: somebody installs another version.
func (n *Node) Mend(e Entry) (Done, error) {
	copyMissing := func(file string) (bool, error) {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		return copyProgram(file)
	}
	return n.place(copyMissing, func(c *chain) (string, error) {
		if c.has() {
			return c.text, nil
		}
		return c.with(e)
	})
}

// place puts the program in its place, then the entry.
func (n *Node) place(program func(string) (bool, error), entry func(*chain) (string, error)) (done Done, err error) {
	file, err := n.network()
	if err != nil {
		return done, err
	}
	if _, err := readChain(file); err != nil {
		return done, err
	}
	copied, err := program(n.Program())
	if err != nil {
		return done, err
	}
	if copied {
		done.Program = n.Program()
	}
	changed, err := change(file, entry)
	if changed != "" {
		done.Networks = []string{changed}
	}
	return done, err
}

// Check returns an error if the program or the entry is missing.
func (n *Node) Check() error {
	if _, err := os.Stat(n.Program()); err != nil {
		return err
	}
	file, err := n.network()
	if err != nil {
		return err
	}
	c, err := readChain(file)
	if err != nil {
		return err
	}
	if !c.has() {
		return fmt.Errorf("%s: there is no entry of %s", file, PluginName)
	}
	return nil
}
