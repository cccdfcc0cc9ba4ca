package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

const (
	// pods is how many start at once.
	pods = 100
	// stormRounds is how often that is measured. It is odd, for the median.
	stormRounds = 5
)

// storm prints how long one process in each of many namespaces takes, all started at
// once, until the last one ends. It does the same with processes that do nothing: the
// difference is the program's own.
func (b bench) storm(ctx context.Context, w io.Writer) error {
	labs := make([]*lab.Lab, pods)
	for i := range labs {
		l, err := lab.New(ctx)
		if err != nil {
			return err
		}
		defer l.Close()
		labs[i] = l
	}
	runs := []struct {
		name string
		args []string
		took []float64
	}{
		{name: "true", args: []string{"true"}},
		{name: "meshtables --version", args: []string{b.program, "--version"}},
		{name: "meshtables", args: []string{b.program}},
		{name: "meshtables --cleanup-only", args: []string{b.program, "--cleanup-only"}},
	}
	// The first round only warms up.
	for round := range stormRounds + 1 {
		for i := range runs {
			d, err := atOnce(labs, runs[i].args...)
			if err != nil {
				return err
			}
			if round > 0 {
				runs[i].took = append(runs[i].took, milliseconds(d))
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%d namespaces at once\ttotal\tbeyond true\tbeyond --version\n", pods)
	for i, r := range runs {
		fmt.Fprintf(table, "%s\t%.0f ms", r.name, median(r.took))
		for _, less := range runs[:min(i, 2)] {
			fmt.Fprintf(table, "\t%.0f ms", median(r.took)-median(less.took))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// atOnce runs a program in every pod at the same time.
func atOnce(labs []*lab.Lab, args ...string) (time.Duration, error) {
	errs := make([]error, len(labs))
	begin := make(chan struct{})
	var inside, running sync.WaitGroup
	for i, l := range labs {
		inside.Add(1)
		running.Go(func() {
			errs[i] = l.Pod.Do(func() error {
				inside.Done()
				<-begin
				return exec.Command(args[0], args[1:]...).Run()
			})
		})
	}
	inside.Wait()
	start := time.Now()
	close(begin)
	running.Wait()
	return time.Since(start), errors.Join(errs...)
}
