// Package node looks at all pods of a machine: it finds their network namespaces, says from
// their annotations how each asks to be captured, compares that with what is installed, and
// repairs what differs.
//
// It asks no API server. What the container runtime was called with for a pod is in the cache
// of its library (libcni), with the pod's annotations.
package node

import (
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/cni/install"
)

// Node is a machine, by the folders in which its pods are seen.
type Node struct {
	// Cache is the folder of libcni's cache.
	Cache string
	// Networks is the folder with the CNI networks of the node.
	Networks string
	// Named is the folder of named network namespaces (ip-netns(8)), where container
	// runtimes keep those of pods too.
	Named string
	// Processes is where procfs is mounted.
	Processes string
}

// The folders as they are on most machines.
const (
	defaultNamed     = "/run/netns"
	defaultProcesses = "/proc"
)

// Default returns the machine that this process runs on.
func Default() Node {
	return Node{Cache: cache.Default, Networks: install.DefaultNetworks, Named: defaultNamed, Processes: defaultProcesses}
}
