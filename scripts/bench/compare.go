package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/meshtables/meshtables/tests/cost"
	"github.com/meshtables/meshtables/tests/lab"
)

// load is how much meshtables has to do.
type load struct {
	name string
	args []string
	// rounds is how often it is measured. It is odd, for the median.
	rounds int
}

func loads() []load {
	ports := func(n int) []string {
		// Ports that touch would become one range.
		return []string{"--excluded-ports=" + numbered(n, func(i int) string { return fmt.Sprint(2*i + 1) })}
	}
	// Half of them for each family, and short ones: an argument ends at 128 KiB
	// (MAX_ARG_STRLEN in linux/binfmts.h).
	cidrs := func(n int) []string {
		return []string{"--excluded-cidrs=" + numbered(n/2, func(i int) string { return fmt.Sprintf("1.%d.%d.1,2001::%x", i/256, i%256, 2*i) })}
	}
	return []load{
		{"3 ports", ports(3), 11},
		{"1000 ports", ports(1000), 11},
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

// sample is one measurement: a run of the program, one of it with the native form, one of
// the restore programs of both families, and one of nft. The last two are nil where these
// programs have nothing alike.
type sample struct {
	ours, native cost.Run
	restore, nft *time.Duration
}

// verbs are what is measured for each load, in order.
var verbs = [...]string{"apply", "run again", "verify", "clean up"}

// round is a sample of each verb.
type round [len(verbs)]sample

// compare prints a table with a row for every verb of every load.
func (b bench) compare(ctx context.Context, w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "excluded\t\tiptables-nft-restore\tmeshtables\tratio\tof apply\tpeak memory\tnft\tnative\tratio\tof apply\tpeak memory\t")
	for _, l := range loads() {
		var rounds []round
		// The first round only warms up.
		for range l.rounds + 1 {
			r, err := b.round(ctx, l.args)
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
	fmt.Fprintf(w, "%s\t%s\t", name, verbs[verb])
	writeHalf(w, rounds, func(r round, verb int) (cost.Run, *time.Duration) { return r[verb].ours, r[verb].restore }, verb)
	writeHalf(w, rounds, func(r round, verb int) (cost.Run, *time.Duration) { return r[verb].native, r[verb].nft }, verb)
	fmt.Fprintln(w)
}

// writeHalf writes the columns of one form: the other program's time, ours, our part of the
// other's and of our own apply, and the memory.
func writeHalf(w io.Writer, rounds []round, of func(r round, verb int) (ours cost.Run, theirs *time.Duration), verb int) {
	var theirs, took, ratio, ofApply, memory []float64
	for _, r := range rounds {
		ours, other := of(r, verb)
		apply, _ := of(r, 0)
		took = append(took, milliseconds(ours.Took))
		ofApply = append(ofApply, ours.Took.Seconds()/apply.Took.Seconds())
		memory = append(memory, float64(ours.Memory)/1e6)
		if other != nil {
			theirs = append(theirs, milliseconds(*other))
			ratio = append(ratio, ours.Took.Seconds()/other.Seconds())
		}
	}
	peer, part := "-", "-"
	if len(theirs) > 0 {
		peer, part = fmt.Sprintf("%.1f ms", median(theirs)), fmt.Sprintf("%.2f", median(ratio))
	}
	fmt.Fprintf(w, "%s\t%.1f ms\t%s\t%.2f\t%.1f MB\t", peer, median(took), part, median(ofApply), median(memory))
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// places are the namespaces of a round: each program has one of its own.
type places struct{ ours, native, restore, nft *lab.Namespace }

// round applies the rules to an empty namespace, applies them again, verifies and removes
// them, in either form, and has the other programs do the same.
func (b bench) round(ctx context.Context, args []string) (r round, err error) {
	var pods [4]*lab.Namespace
	for i := range pods {
		l, err := lab.New(ctx)
		if err != nil {
			return r, err
		}
		defer l.Close()
		pods[i] = l.Pod
	}
	in := places{pods[0], pods[1], pods[2], pods[3]}
	v4, v6, err := b.text(in.ours, args)
	if err != nil {
		return r, err
	}
	for verb, words := range [len(verbs)][]string{args, args, append([]string{"verify"}, args...), {"--cleanup-only"}} {
		if r[verb].ours, err = cost.Of(in.ours, "", b.program, words...); err != nil {
			return r, err
		}
		if r[verb].native, err = cost.Of(in.native, "", b.program, append(words, "--backend=nftables")...); err != nil {
			return r, err
		}
		if verb == 0 {
			table, err := listed(in.native)
			if err != nil {
				return r, err
			}
			if r[verb].nft, err = together(in.nft, peer{table, []string{"nft", "-f", "-"}}); err != nil {
				return r, err
			}
		}
		if verb < 2 {
			r[verb].restore, err = together(in.restore,
				peer{v4, []string{"iptables-nft-restore", "--noflush"}}, peer{v6, []string{"ip6tables-nft-restore", "--noflush"}})
			if err != nil {
				return r, err
			}
		}
	}
	// Without --noflush they empty the tables in their input.
	const none = "*nat\nCOMMIT\n"
	last := &r[len(verbs)-1]
	if last.restore, err = together(in.restore, peer{none, []string{"iptables-nft-restore"}}, peer{none, []string{"ip6tables-nft-restore"}}); err != nil {
		return r, err
	}
	last.nft, err = together(in.nft, peer{"", []string{"nft", "flush", "ruleset"}})
	return r, err
}

// peer is a run of another program.
type peer struct {
	stdin string
	words []string
}

// together runs programs one after the other and returns how long that took.
func together(n *lab.Namespace, peers ...peer) (*time.Duration, error) {
	var sum time.Duration
	for _, p := range peers {
		run, err := cost.Of(n, p.stdin, p.words[0], p.words[1:]...)
		if err != nil {
			return nil, err
		}
		sum += run.Took
	}
	return &sum, nil
}

// listed returns the rules of a namespace as nft takes them.
func listed(n *lab.Namespace) (string, error) {
	var out bytes.Buffer
	err := n.Do(func() error {
		cmd := exec.Command("nft", "list", "ruleset")
		cmd.Stdout = &out
		return cmd.Run()
	})
	return out.String(), err
}

// text returns the rules as the restore programs take them.
func (b bench) text(n *lab.Namespace, args []string) (v4, v6 string, err error) {
	var out bytes.Buffer
	err = n.Do(func() error {
		cmd := exec.Command(b.program, append([]string{"--dry-run"}, args...)...)
		cmd.Stdout = &out
		return cmd.Run()
	})
	v4, v6, _ = strings.Cut(out.String(), "# ip6tables-save (IPv6)\n")
	return v4, v6, err
}
