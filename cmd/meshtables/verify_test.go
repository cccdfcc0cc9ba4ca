package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A shell reads the words that were printed.
func TestShellWords(t *testing.T) {
	t.Parallel()
	words := []string{"--included-ports=*", "--excluded-interfaces=a$b,tap+,it's", "--included-cidrs=", "--excluded-uids=udp:53:1000,tcp:1-2", "--ipv6=on"}
	out, err := exec.Command("sh", "-c", "printf '%s\\n' "+shellWords(words)).Output()
	if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != strings.Join(words, "\n") {
		t.Errorf("%s is read as %q: %v", shellWords(words), got, err)
	}
	if got := shellWords(words[2:]); strings.Contains(got, "'") {
		t.Errorf("quoted without need: %s", got)
	}
}

// Long lists are cut where people read them.
func TestBriefArguments(t *testing.T) {
	t.Parallel()
	got := brief([]string{"--ipv6=on", "--excluded-ports=1,2,3,4,5,6,7,8,9,10"})
	if want := "--ipv6=on --excluded-ports=1,2,3,4,5,6,7,8,... (10 values)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
