package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/cost"
	"github.com/meshtables/meshtables/tests/lab"
)

// referenceRounds is how often each load is measured. It is odd, for the median.
const referenceRounds = 7

// referenceRuns are what is measured for each load. The second run of istio-iptables
// finds the legacy tables that the first one created by looking for them, and writes its
// rules there too. The third is the first that finds all of them.
var referenceRuns = [...]string{"apply", "second run", "third run"}

// pairs are how long both programs took, for each run.
type pairs [len(referenceRuns)]struct{ reference, ours time.Duration }

// besideReference prints how long istio-iptables takes, with the same arguments as
// meshtables in the same round. Both get the arguments of Istio's injector, and the
// option for IPv6, which meshtables captures by default.
func (b bench) besideReference(ctx context.Context, w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "excluded\t\tistio-iptables\tmeshtables\tratio\t")
	for _, ports := range []int{3, 1000} {
		args := injected(numbered(ports, func(i int) string { return fmt.Sprint(2*i + 1) }))
		var rounds []pairs
		// The first round only warms up.
		for range referenceRounds + 1 {
			p, err := b.pairs(ctx, args)
			if err != nil {
				return err
			}
			rounds = append(rounds, p)
		}
		for run, name := range referenceRuns {
			var theirs, ours, ratios []float64
			for _, p := range rounds[1:] {
				theirs = append(theirs, milliseconds(p[run].reference))
				ours = append(ours, milliseconds(p[run].ours))
				ratios = append(ratios, p[run].ours.Seconds()/p[run].reference.Seconds())
			}
			fmt.Fprintf(table, "%d ports\t%s\t%.1f ms\t%.1f ms\t%.3f\t\n", ports, name, median(theirs), median(ours), median(ratios))
		}
	}
	return table.Flush()
}

// injected returns the arguments that Istio's injector gives, with other excluded
// inbound ports.
func injected(ports string) []string {
	return []string{
		"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
		"-i", "*", "-x", "", "-b", "*", "-d", ports, "--dual-stack",
	}
}

// pairs runs both programs once for each of the runs, each in a namespace that starts
// empty. The reference chooses between nf_tables and the legacy tables by itself, as in a
// pod.
func (b bench) pairs(ctx context.Context, args []string) (p pairs, err error) {
	var labs [2]*lab.Lab
	for i := range labs {
		if labs[i], err = lab.New(ctx); err != nil {
			return p, err
		}
		defer labs[i].Close()
	}
	for run := range p {
		reference, err := cost.Of(labs[0].Pod, "", b.reference, args...)
		if err != nil {
			return p, err
		}
		ours, err := cost.Of(labs[1].Pod, "", b.program, args...)
		if err != nil {
			return p, err
		}
		p[run].reference, p[run].ours = reference.Took, ours.Took
	}
	return p, nil
}
