// Bench measures whole runs of meshtables, beside iptables-nft-restore with the same
// rules and istio-iptables with the same arguments. It also measures many runs at once,
// beside processes that do nothing. Usage:
//
//	go run ./scripts/bench path/to/meshtables path/to/istio-iptables
//
// Only the ratios say something about the program; the times are the machine's. It needs
// root, for its own network namespaces.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: bench path/to/meshtables path/to/istio-iptables")
	}
	b := bench{program: args[0]}
	info, err := os.Stat(b.program)
	if err != nil {
		return err
	}
	fmt.Printf("binary: %.1f MB\n\n", float64(info.Size())/1e6)
	if err := b.compare(ctx, os.Stdout); err != nil {
		return err
	}
	fmt.Println()
	if err := b.besideReference(ctx, os.Stdout, args[1]); err != nil {
		return err
	}
	fmt.Println()
	return b.storm(ctx, os.Stdout)
}

type bench struct{ program string }

func median(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}
