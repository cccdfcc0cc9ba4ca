package main

import (
	"os"

	"github.com/meshtables/meshtables/iptables/cni"
)

// isPlugin reports whether a container runtime has started the program, whatever its name.
func isPlugin() bool { return os.Getenv(cni.CommandVariable) != "" }

// runPlugin is the whole program as a plugin of the container runtime. Its options are in the
// configuration that it gets, not on the command line or in the environment, which is the
// runtime's. It returns the exit status.
func runPlugin() int {
	p := cni.Plugin{Policies: policies(), Stdout: os.Stdout, Stderr: os.Stderr}
	if object := p.Run(); object != nil {
		// There is nobody else to tell if this fails.
		_ = object.Print()
		return exitFailed
	}
	return exitDone
}
