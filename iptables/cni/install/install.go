// Package install puts the CNI plugin on a node and takes it away again: the program in the
// folder of the node's plugins, and its entry at the end of the chain of the network that
// the container runtime uses, in one of several [Mode]s.
//
// Whatever it is killed at, the runtime finds the old file or the new one, and the entry is
// never there without the program. Some runtimes end a pod with the chain that it was started
// with, so the program stays until all these pods have ended.
package install

import (
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
	// Mode is how the plugin gets into the network's chain.
	Mode Mode
	// Cache is the folder of libcni's cache, which says what pods were started with.
	Cache string
}

// Done says what was done. Each field is empty if there was nothing to do.
type Done struct {
	// Program is where the program was copied to, or removed from.
	Program string
	// Networks are the files that were written or, uninstalling, that the plugin was taken out of.
	Networks []string
	// Removed are those that the plugin was taken out of because it is in another now.
	Removed []string
	// Unread says why the entry is there beside the drop-in; see [ModeDropIn].
	Unread string
	// Kept says that the program was not removed.
	Kept bool
	// Pods is how many pods the runtime cannot end without the program, by its cache.
	Pods int
	// Unknown says why there may be more of them; nil if there are not.
	Unknown error
}

// Changed reports whether anything was done.
func (d Done) Changed() bool { return d.Program != "" || len(d.Networks) > 0 || len(d.Removed) > 0 }

// Program returns the path of the plugin on the node.
func (n *Node) Program() string { return filepath.Join(n.Plugins, PluginName) }

// Install copies the program of this process and puts the entry where the mode has it, unless
// they are there as they should be, and takes away what another mode has left. Without a network
// nothing is done.
func (n *Node) Install(e Entry) (Done, error) {
	p := placing{Node: n, entry: e}
	err := p.place()
	return p.done, err
}

// Mend does what [Node.Install] does, for whoever stays to keep things in place. It leaves a
// program and an entry alone that are not this one's: somebody installs another version. Where
// the mode cannot be, it adds the entry to the network plugin's file, and returns why.
func (n *Node) Mend(e Entry) (Done, error) {
	p := placing{Node: n, entry: e, mending: true}
	err := p.place()
	return p.done, err
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
	switch {
	case err != nil:
		return err
	case n.Mode == ModeOwn:
		return n.checkOwn(c)
	case n.Mode == ModeDropIn:
		return n.checkDropIn(c)
	case !c.has():
		return missing(file)
	}
	return nil
}

func missing(file string) error {
	return fmt.Errorf("%s: there is no entry of %s", file, PluginName)
}
