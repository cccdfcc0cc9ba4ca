// Bench measures whole runs of meshtables, beside iptables-nft-restore and nft with the same
// rules, istio-iptables with the same arguments, and a Go program that does nothing. It also
// measures many runs at once. Usage:
//
//	go run ./scripts/bench path/to/meshtables path/to/istio-iptables path/to/empty
//
// Only the counts and the ratios say something about the program; the times are the
// machine's. It needs root, for its own network namespaces.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	if len(args) != 3 {
		return errors.New("usage: bench path/to/meshtables path/to/istio-iptables path/to/empty")
	}
	b := bench{program: args[0], reference: args[1], empty: args[2]}
	for i, part := range []func(context.Context, io.Writer) error{b.counts, b.compare, b.besideReference, b.storm} {
		if i > 0 {
			fmt.Println()
		}
		if err := part(ctx, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// bench has the paths of the programs: ours, istio-iptables, and one that does nothing.
type bench struct{ program, reference, empty string }

func median(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}
