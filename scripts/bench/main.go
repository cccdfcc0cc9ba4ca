// Bench measures what meshtables costs, as whole processes, beside
// iptables-nft-restore of the same rules in the same run. Usage:
//
//	go run ./scripts/bench path/to/meshtables
//
// Only the ratios say something about the program; the times are the machine's.
// It needs root, for network namespaces of its own.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// rounds is how often each pair is measured. It is odd, for the median.
const rounds = 11

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bench path/to/meshtables")
	}
	b := bench{program: args[0]}
	info, err := os.Stat(b.program)
	if err != nil {
		return err
	}
	fmt.Printf("binary: %.1f MB\n\n", float64(info.Size())/1e6)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "excluded ports\t\tmeshtables\tiptables-nft-restore\tratio\tpeak memory\t")
	for _, ports := range []int{3, 1000, 5000} {
		if err := b.measure(ctx, table, ports); err != nil {
			return err
		}
	}
	return table.Flush()
}

type bench struct{ program string }

// sample is one measurement: a run of the program and of the restore programs.
type sample struct {
	ours, theirs time.Duration
	memory       int64 // of ours, in bytes
}

// measure prints a row for applying and one for running again.
func (b bench) measure(ctx context.Context, table *tabwriter.Writer, ports int) error {
	excluded := "--excluded-ports=" + firstPorts(ports)
	var apply, again []sample
	// The first round only warms up.
	for range rounds + 1 {
		first, second, err := b.round(ctx, excluded)
		if err != nil {
			return err
		}
		apply, again = append(apply, first), append(again, second)
	}
	for _, row := range []struct {
		name    string
		samples []sample
	}{{"apply", apply[1:]}, {"run again", again[1:]}} {
		fmt.Fprintf(table, "%d\t%s\t%.1f ms\t%.1f ms\t%.2f\t%.1f MB\t\n", ports, row.name,
			median(row.samples, func(s sample) float64 { return s.ours.Seconds() * 1e3 }),
			median(row.samples, func(s sample) float64 { return s.theirs.Seconds() * 1e3 }),
			median(row.samples, func(s sample) float64 { return s.ours.Seconds() / s.theirs.Seconds() }),
			median(row.samples, func(s sample) float64 { return float64(s.memory) / 1e6 }))
	}
	return nil
}

func firstPorts(n int) string {
	ports := make([]string, n)
	for i := range ports {
		ports[i] = strconv.Itoa(i + 1)
	}
	return strings.Join(ports, ",")
}

// round applies the rules to an empty namespace, then again, and has the restore
// programs do both in another one.
func (b bench) round(ctx context.Context, excluded string) (apply, again sample, err error) {
	ours, err := lab.New(ctx)
	if err != nil {
		return apply, again, err
	}
	defer ours.Close()
	theirs, err := lab.New(ctx)
	if err != nil {
		return apply, again, err
	}
	defer theirs.Close()
	v4, v6, err := b.text(ours, excluded)
	if err != nil {
		return apply, again, err
	}
	for _, s := range []*sample{&apply, &again} {
		if s.ours, s.memory, err = timed(ours, "", b.program, excluded); err != nil {
			return apply, again, err
		}
		for name, text := range map[string]string{"iptables-nft-restore": v4, "ip6tables-nft-restore": v6} {
			d, _, err := timed(theirs, text, name, "--noflush")
			if err != nil {
				return apply, again, err
			}
			s.theirs += d
		}
	}
	return apply, again, nil
}

// text returns the rules as the restore programs take them.
func (b bench) text(l *lab.Lab, excluded string) (v4, v6 string, err error) {
	var out bytes.Buffer
	err = l.Pod.Do(func() error {
		cmd := exec.Command(b.program, "--dry-run", excluded)
		cmd.Stdout = &out
		return cmd.Run()
	})
	v4, v6, _ = strings.Cut(out.String(), "# ip6tables-save (IPv6)\n")
	return v4, v6, err
}

// timed runs a program in the pod from its start to its end.
func timed(l *lab.Lab, stdin, name string, args ...string) (d time.Duration, memory int64, err error) {
	err = l.Pod.Do(func() error {
		var stderr bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, &stderr)
		}
		d = time.Since(start)
		// ru_maxrss is in kilobytes (getrusage(2)).
		memory = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
		return nil
	})
	return d, memory, err
}

func median(samples []sample, figure func(sample) float64) float64 {
	figures := make([]float64, len(samples))
	for i, s := range samples {
		figures[i] = figure(s)
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}
