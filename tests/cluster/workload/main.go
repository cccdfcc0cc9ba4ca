// Command workload is all that is in the images of the cluster's pods. As "proxy" it stands in
// for a sidecar: it takes what the rules send to it and passes it on, and writes a line for
// each connection. As "pause" it only keeps a pod. Else it is an application, or one of the
// commands that probes and tests run.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	words := append(args, "")
	switch words[0] {
	case "pause":
	case "ask":
		return ask(words[1])
	case "ready":
		return ready()
	case "outside":
		if err := serveAt(words[1]); err != nil {
			return err
		}
	case "proxy":
		if err := proxy(); err != nil {
			return err
		}
	default:
		if err := serve(); err != nil {
			return err
		}
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
	return nil
}
