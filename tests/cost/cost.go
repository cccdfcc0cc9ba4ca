// Package cost measures runs of programs: in counts, which do not depend on how fast the
// machine is and what else it does, and in time.
package cost

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// Empty is the package of a program that does nothing, to compare with.
const Empty = "github.com/meshtables/meshtables/tests/cost/empty"

// Run is what one run cost.
type Run struct {
	// Took is the time from its start to its end.
	Took time.Duration
	// Faults are its page faults (ru_minflt and ru_majflt of getrusage(2)).
	Faults int
	// Memory is the most that it had at once, in bytes (ru_maxrss).
	Memory int64
}

// command returns a program to run. Of the environment it gets only the path: what else is
// there costs something too.
func command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return cmd
}

// Of runs a program in a network namespace. The error has what it printed to stderr.
func Of(n *lab.Namespace, stdin, program string, args ...string) (r Run, err error) {
	err = n.Do(func() error {
		var stderr bytes.Buffer
		cmd := command(program, args...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", program, err, &stderr)
		}
		r.Took = time.Since(start)
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		r.Faults = int(usage.Minflt + usage.Majflt)
		// ru_maxrss is in kilobytes.
		r.Memory = usage.Maxrss << 10
		return nil
	})
	return r, err
}

// Usual runs a program some times, each time after another, if there is one, and returns the
// run in the middle, by page faults: threads that happen to start or not make a difference.
func Usual(n *lab.Namespace, rounds int, before, words []string) (Run, error) {
	runs := make([]Run, rounds)
	for i := range runs {
		if err := After(n, before); err != nil {
			return Run{}, err
		}
		var err error
		if runs[i], err = Of(n, "", words[0], words[1:]...); err != nil {
			return Run{}, err
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return a.Faults - b.Faults })
	return runs[rounds/2], nil
}

// After runs what comes before a measurement, if there is anything.
func After(n *lab.Namespace, before []string) error {
	if before == nil {
		return nil
	}
	_, err := Of(n, "", before[0], before[1:]...)
	return err
}

// Talk is what a run says to the kernel over sockets.
type Talk struct{ Sockets, Sends int }

var calls = regexp.MustCompile(`(?m)^(?:\[pid +\d+\] )?(socket|send(?:to|msg|mmsg))\(`)

// TalkOf runs a program in a network namespace under strace.
func TalkOf(n *lab.Namespace, program string, args ...string) (t Talk, err error) {
	err = n.Do(func() error {
		var trace bytes.Buffer
		cmd := command("strace", append([]string{"-f", "-e", "trace=socket,sendto,sendmsg,sendmmsg", program}, args...)...)
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("strace %s: %w\n%s", program, err, &trace)
		}
		for _, call := range calls.FindAllStringSubmatch(trace.String(), -1) {
			if call[1] == "socket" {
				t.Sockets++
			} else {
				t.Sends++
			}
		}
		return nil
	})
	return t, err
}
