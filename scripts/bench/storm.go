package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/cost"
	"github.com/meshtables/meshtables/tests/lab"
)

const (
	// pods is how many start at once.
	pods = 100
	// stormRounds is how often that is measured. It is odd, for the median.
	stormRounds = 5
)

// storm prints how long one process in each of many namespaces takes, all started at once,
// until the last one ends. What it takes beyond programs that do nothing is the program's own:
// it is compared with as many runs one after the other, shared by the processors.
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
		name         string
		words        []string
		alone, storm []float64
	}{
		{name: "an empty program", words: []string{b.empty}},
		{name: "--version", words: []string{b.program, "--version"}},
		{name: "apply", words: []string{b.program}},
		{name: "clean up", words: []string{b.program, "--cleanup-only"}},
	}
	// The first round only warms up.
	for round := range stormRounds + 1 {
		for i := range runs {
			r := &runs[i]
			took, err := atOnce(labs, r.words...)
			if err != nil {
				return err
			}
			if round > 0 {
				r.storm = append(r.storm, milliseconds(took))
			}
		}
		for i := range runs {
			r := &runs[i]
			one, err := cost.Of(labs[0].Pod, "", r.words[0], r.words[1:]...)
			if err != nil {
				return err
			}
			if round > 0 {
				r.alone = append(r.alone, milliseconds(one.Took))
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d namespaces at once\tone alone\tall\tbeyond empty\tof one × %[1]d / %d\t\n", pods, runtime.NumCPU())
	empty := median(runs[0].storm)
	for _, r := range runs {
		beyond := median(r.storm) - empty
		fmt.Fprintf(table, "%s\t%.1f ms\t%.0f ms\t%.0f ms\t%.2f\t\n", r.name, median(r.alone), median(r.storm), beyond,
			beyond/(median(r.alone)*pods/float64(runtime.NumCPU())))
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
