package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/meshtables/meshtables/tests/cost"
	"github.com/meshtables/meshtables/tests/lab"
)

// countRounds is how often page faults are counted.
const countRounds = 31

// counts prints what does not depend on the machine: the size of the program, and of each
// run the page faults, beside a program that does nothing, and the sockets and messages to
// the kernel.
func (b bench) counts(ctx context.Context, w io.Writer) error {
	l, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	info, err := os.Stat(b.program)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "size: %.2f MB\n\n", float64(info.Size())/1e6)
	none, err := cost.Usual(l.Pod, countRounds, nil, []string{b.empty})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tpage faults\tratio\tpeak memory\tsockets\tmessages\t")
	fmt.Fprintf(table, "an empty program\t%d\t1.00\t%.1f MB\t\t\t\n", none.Faults, float64(none.Memory)/1e6)
	apply, remove := []string{b.program}, []string{b.program, "--cleanup-only"}
	for _, run := range []struct {
		name          string
		before, words []string
	}{
		{"--version", nil, []string{b.program, "--version"}},
		{"apply", remove, apply},
		{"run again", nil, apply},
		{"verify", nil, []string{b.program, "verify"}},
		{"clean up", apply, remove},
	} {
		usual, err := cost.Usual(l.Pod, countRounds, run.before, run.words)
		if err != nil {
			return err
		}
		if err := cost.After(l.Pod, run.before); err != nil {
			return err
		}
		talk, err := cost.TalkOf(l.Pod, run.words[0], run.words[1:]...)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%d\t%.2f\t%.1f MB\t%d\t%d\t\n", run.name, usual.Faults, float64(usual.Faults)/float64(none.Faults),
			float64(usual.Memory)/1e6, talk.Sockets, talk.Sends)
	}
	return table.Flush()
}
