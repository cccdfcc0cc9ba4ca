// Command meshtables sends a pod's traffic through its sidecar proxy.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	raiseNetAdmin()
	if isPlugin() {
		os.Exit(runPlugin())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
