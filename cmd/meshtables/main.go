// Command meshtables sends a pod's traffic through its sidecar proxy.
package main

import "os"

func main() {
	raiseNetAdmin()
	if isPlugin() {
		os.Exit(runPlugin())
	}
	args, env := os.Args[1:], os.Environ()
	collectLate(args, env)
	os.Exit(run(untilSignal(), args, env, os.Stdout, os.Stderr))
}
