// Kernels runs tests of meshtables in the kernels of Debian's releases, complete and with
// parts left out, each in its own virtual machine, emulated by qemu. Usage:
//
//	go run ./scripts/kernels [name of a row]...
//
// The rows are in tests/kernels. It fetches the kernels once, as packages, into the
// user's cache folder. It installs nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/meshtables/meshtables/tests/kernels"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runAll(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "kernels: %v\n", err)
		os.Exit(1)
	}
}

func runAll(ctx context.Context, names []string) error {
	rows := kernels.All()
	if len(names) > 0 {
		rows = slices.DeleteFunc(rows, func(k kernels.Kernel) bool { return !slices.Contains(names, k.Name) })
	}
	if len(rows) == 0 {
		return fmt.Errorf("%q: no such row", names)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache := filepath.Join(caches, "meshtables", "kernels")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "meshtables-kernels-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := build(ctx, work); err != nil {
		return err
	}
	folders := make(map[string]string)
	for _, k := range rows {
		if folders[k.Suite], err = fetchKernel(ctx, cache, k.Suite); err != nil {
			return err
		}
	}
	return runRows(ctx, rows, folders, work)
}

// build builds the program and its tests, static, because they run without libraries.
func build(ctx context.Context, dir string) error {
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "meshtables"), "./cmd/meshtables"},
		{"test", "-c", "-o", filepath.Join(dir, "tests.test"), "./tests"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// runRows runs as many at once as there are processors.
func runRows(ctx context.Context, rows []kernels.Kernel, folders map[string]string, work string) error {
	errs := make([]error, len(rows))
	var running sync.WaitGroup
	free := make(chan struct{}, runtime.NumCPU())
	for i, k := range rows {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			start := time.Now()
			summary, err := runRow(ctx, k, folders[k.Suite], filepath.Join(work, fmt.Sprintf("%d.cpio.gz", i)))
			took := time.Since(start).Round(time.Second)
			if err != nil {
				errs[i] = fmt.Errorf("%s, after %s: %w", k.Name, took, err)
				fmt.Printf("%-22s FAILED after %s\n", k.Name, took)
				return
			}
			fmt.Printf("%-22s ok, %s in %s\n", k.Name, summary, took)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// hung is longer than any row takes on a slow machine.
const hung = time.Hour

func runRow(ctx context.Context, k kernels.Kernel, kernel, path string) (summary string, err error) {
	defer os.Remove(path)
	ctx, cancel := context.WithTimeout(ctx, hung)
	defer cancel()
	if err := image(ctx, k, kernel, filepath.Dir(path), path); err != nil {
		return "", err
	}
	console, err := boot(ctx, k, kernel, path)
	if err != nil {
		return "", fmt.Errorf("qemu: %w\n%s", err, console)
	}
	return judge(console)
}
