// Command meshtables sends a pod's traffic through its sidecar proxy.
package main

import "os"

func main() {
	raiseNetAdmin()
	if isPlugin() {
		os.Exit(runPlugin())
	}
	os.Exit(run(untilSignal(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
