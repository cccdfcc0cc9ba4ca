package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// load is how much meshtables has to do.
type load struct {
	name string
	arg  string
	// rounds is how often it is measured. It is odd, for the median.
	rounds int
}

func loads() []load {
	ports := func(n int) string {
		// Ports that touch would become one range.
		return "--excluded-ports=" + numbered(n, func(i int) string { return fmt.Sprint(2*i + 1) })
	}
	// Short ones: an argument ends at 128 KiB (MAX_ARG_STRLEN in
	// linux/binfmts.h).
	cidrs := func(n int) string {
		return "--excluded-cidrs=" + numbered(n, func(i int) string { return fmt.Sprintf("1.%d.%d.1", i/256, i%256) })
	}
	return []load{
		{"3 ports", ports(3), 11},
		{"1000 ports", ports(1000), 11},
		{"5000 ports", ports(5000), 7},
		{"10000 ports", ports(10000), 5},
		{"10000 CIDRs", cidrs(10000), 5},
	}
}

func numbered(n int, word func(int) string) string {
	words := make([]string, n)
	for i := range words {
		words[i] = word(i)
	}
	return strings.Join(words, ",")
}

// sample is one measurement: a run of the program, one of it with the native form,
// and one of the restore programs.
type sample struct {
	ours, native, theirs time.Duration
	memory               int64 // of ours, in bytes
}

// verbs are what is measured for each load, in order.
var verbs = [...]string{"apply", "run again", "clean up"}

// round is a sample of each verb.
type round [len(verbs)]sample

// compare prints a table with a row for every verb of every load.
func (b bench) compare(ctx context.Context, w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "excluded\t\tiptables-nft-restore\tmeshtables\tratio\tpeak memory\tnative\tratio\t")
	for _, l := range loads() {
		var rounds []round
		// The first round only warms up.
		for range l.rounds + 1 {
			r, err := b.round(ctx, l.arg)
			if err != nil {
				return err
			}
			rounds = append(rounds, r)
		}
		for verb := range verbs {
			writeRow(table, l.name, verb, rounds[1:])
		}
	}
	return table.Flush()
}

func writeRow(w io.Writer, name string, verb int, rounds []round) {
	of := func(figure func(sample) float64) float64 {
		figures := make([]float64, len(rounds))
		for i, r := range rounds {
			figures[i] = figure(r[verb])
		}
		return median(figures)
	}
	fmt.Fprintf(w, "%s\t%s\t%.1f ms\t%.1f ms\t%.2f\t%.1f MB\t%.1f ms\t%.2f\t\n", name, verbs[verb],
		of(func(s sample) float64 { return milliseconds(s.theirs) }),
		of(func(s sample) float64 { return milliseconds(s.ours) }),
		of(func(s sample) float64 { return s.ours.Seconds() / s.theirs.Seconds() }),
		of(func(s sample) float64 { return float64(s.memory) / 1e6 }),
		of(func(s sample) float64 { return milliseconds(s.native) }),
		of(func(s sample) float64 { return s.native.Seconds() / s.theirs.Seconds() }))
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// round applies the rules to an empty namespace, then again, and removes them, in
// either form, and has the restore programs do the same: each in a namespace of its
// own.
func (b bench) round(ctx context.Context, arg string) (r round, err error) {
	var labs [3]*lab.Lab
	for i := range labs {
		if labs[i], err = lab.New(ctx); err != nil {
			return r, err
		}
		defer labs[i].Close()
	}
	ours, native, theirs := labs[0], labs[1], labs[2]
	v4, v6, err := b.text(ours, arg)
	if err != nil {
		return r, err
	}
	// Without --noflush they empty the tables in their input.
	const none = "*nat\nCOMMIT\n"
	for verb, run := range [len(verbs)]struct {
		ours   string
		v4, v6 string
		theirs []string
	}{
		{arg, v4, v6, []string{"--noflush"}},
		{arg, v4, v6, []string{"--noflush"}},
		{"--cleanup-only", none, none, nil},
	} {
		s := &r[verb]
		if s.ours, s.memory, err = timed(ours, "", b.program, run.ours); err != nil {
			return r, err
		}
		if s.native, _, err = timed(native, "", b.program, "--backend=nftables", run.ours); err != nil {
			return r, err
		}
		for name, text := range map[string]string{"iptables-nft-restore": run.v4, "ip6tables-nft-restore": run.v6} {
			d, _, err := timed(theirs, text, name, run.theirs...)
			if err != nil {
				return r, err
			}
			s.theirs += d
		}
	}
	return r, nil
}

// text returns the rules as the restore programs take them.
func (b bench) text(l *lab.Lab, arg string) (v4, v6 string, err error) {
	var out bytes.Buffer
	err = l.Pod.Do(func() error {
		cmd := exec.Command(b.program, "--dry-run", arg)
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
