package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRunsNothing has strace write down every program that a run over netlink
// executes, and every file and socket that it opens: it executes itself, opens no file to
// write to it, so no lock file either, and asks everything over two sockets. A run that may change something holds the lock with a
// third.
func TestRunsNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		missing(t, err.Error())
	}
	for _, backend := range []string{"auto", "iptables-nft", native} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, "iptables-nft")
			for _, run := range []struct {
				args   []string
				answer string
			}{
				{[]string{"--mode=TPROXY"}, "applied"},
				{[]string{"--mode=TPROXY"}, "unchanged"},
				{[]string{"verify", "--mode=TPROXY"}, "as wanted"},
				{[]string{"show"}, ""},
				{[]string{"explain", "out", "203.0.113.10:443", "--live"}, "redirected"},
				{[]string{"--redirect-dns", "--ipv6=off", "--excluded-interfaces=net1"}, "applied"},
				{[]string{"--cleanup-only"}, "removed"},
				{[]string{"--cleanup-only"}, "nothing to remove"},
			} {
				runsNothing(t, p, run.answer, append(run.args, "--backend="+backend)...)
			}
		})
	}
}

var (
	// execution is how strace shows that a program is executed.
	execution = regexp.MustCompile(`\bexecve(at)?\(`)
	// written is how openat(2) shows a file that is opened to be changed.
	written = regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT`)
	// socket is one to the kernel: netfilter's, that of routing, and the lock.
	socket = regexp.MustCompile(`\bsocket\(AF_NETLINK`)
	// locked is a file that looks like a lock, whatever it is opened for.
	locked = regexp.MustCompile(`\.lock"|/run/|/var/lock`)
)

func runsNothing(t *testing.T, p pod, answer string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	c := p.command(args...)
	trace := filepath.Join(t.TempDir(), "trace")
	c.Args = append([]string{
		"--follow-forks", "--quiet=all", "--signal=none", "--output=" + trace,
		"--trace=execve,execveat,open,openat,openat2,creat,socket", "--", c.Path,
	}, args...)
	c.Path = "strace"
	c.Stdout, c.Stderr = &out, &out
	if err := p.Pod.Run(t.Context(), c); err != nil || !strings.HasPrefix(out.String(), answer) {
		t.Fatalf("meshtables %s: want %q, got %v\n%s", strings.Join(args, " "), answer, err, &out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	executed, sockets := len(execution.FindAllString(string(text), -1)), len(socket.FindAllString(string(text), -1))
	for call := range strings.Lines(string(text)) {
		if written.MatchString(call) || locked.MatchString(call) {
			t.Errorf("meshtables %s opens a file to change it or a lock: %s", strings.Join(args, " "), call)
		}
	}
	want := 2
	if strings.HasPrefix(args[0], "--") {
		want++ // the lock of a run that may change something
	}
	if sockets > want {
		t.Errorf("meshtables %s opens %d sockets, want %d at most:\n%s", strings.Join(args, " "), sockets, want, text)
	}
	if executed != 1 {
		t.Errorf("meshtables %s executes %d programs, want itself only:\n%s", strings.Join(args, " "), executed, text)
	}
}
