// Image writes the container image of meshtables: an OCI image layout in a tar archive,
// for linux/amd64 and linux/arm64, with only the program in it. Usage:
//
//	go run ./scripts/image path/to/meshtables.oci.tar
//
// It needs the go command and no container engine. The same commit with the same tag and
// version of Go gives the same bytes on every machine: all times are the commit's, or
// SOURCE_DATE_EPOCH if that is set, in seconds since 1970
// (https://reproducible-builds.org/specs/source-date-epoch/). Without a repository the
// version is "(devel)".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

// architectures returns the architectures of the image. Go and OCI use the same names.
func architectures() []string { return []string{"amd64", "arm64"} }

func run(ctx context.Context, args []string, epoch string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: image path/to/meshtables.oci.tar")
	}
	var programs []program
	for _, arch := range architectures() {
		p, err := build(ctx, arch)
		if err != nil {
			return err
		}
		programs = append(programs, p)
	}
	about, err := describe(programs[0].info, epoch)
	if err != nil {
		return err
	}
	archive, sizes, err := newArchive(programs, about)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[0], archive, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: meshtables %s, %.2f MB", args[0], about.version, megabytes(len(archive)))
	for i, p := range programs {
		fmt.Fprintf(stdout, "; linux/%s %.2f MB to pull", p.arch, megabytes(sizes[i]))
	}
	fmt.Fprintln(stdout)
	return nil
}

func megabytes(bytes int) float64 { return float64(bytes) / 1e6 }
