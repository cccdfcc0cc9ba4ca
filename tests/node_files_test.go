package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a process of the pod has for a resolv.conf is what that process would read, and
// whatever it is, the program on the node neither waits for it nor is led to a file of the
// node's.
func TestNodeReadsFilesOfPods(t *testing.T) {
	t.Parallel()
	p := newPod(t, "nftables")
	// The pod has something else there.
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "resolv.conf"), []byte("nameserver 203.0.113.66\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const regular = "must be a regular file, but is "
	for name, tt := range map[string]struct {
		script, found, refused string
		// lost says that nothing is there, so that no process is found that has it.
		lost bool
	}{
		"a file":            {script: "echo nameserver 192.0.2.53 >resolv.conf", found: "192.0.2.53"},
		"an absolute link":  {script: "echo nameserver 192.0.2.53 >$shared/mine; ln -s $shared/mine resolv.conf", found: "192.0.2.53"},
		"the node's name":   {script: "echo nameserver 192.0.2.53 >$shared/resolv.conf; ln -s $shared/resolv.conf", found: "192.0.2.53"},
		"a way up and down": {script: "echo nameserver 192.0.2.53 >$shared/mine; ln -s ../../../..$shared/mine resolv.conf", found: "192.0.2.53"},
		"a named pipe":      {script: "mkfifo resolv.conf", refused: regular + "a named pipe"},
		"a directory":       {script: "mkdir resolv.conf", refused: regular + "a directory"},
		"a device":          {script: "mknod resolv.conf c 1 5", refused: regular + "a device"},
		"an endless file":   {script: "truncate -s 1G resolv.conf", refused: "must have at most 64 KiB"},
		"a loop":            {script: "ln -s resolv.conf resolv.conf", refused: "too many levels of symbolic links", lost: true},
		// There is none in the pod.
		"a name of the node's alone": {script: "ln -s $shared/resolv.conf", lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			process := processBy(t, p.Pod, fmt.Sprintf("shared=%s; mount -t tmpfs tmpfs /etc; mount -t tmpfs tmpfs $shared; cd /etc; %s", shared, tt.script))
			file := "/proc/" + process + "/root/etc/resolv.conf"
			before := ownText(t, p)
			places := []string{process, p.Pod.File()}
			if tt.lost {
				places = places[:1]
			}
			for _, place := range places {
				start := time.Now()
				stdout, stderr, err := p.fromNode(t, place, "-v", "--backend=nftables", "--redirect-dns")
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%s: it takes %v", place, took)
				}
				status := (*exec.ExitError)(nil)
				ok := err == nil && !strings.Contains(stderr, "203.0.113.66")
				want := "name servers: " + tt.found + " (" + file + ")\n"
				if tt.refused != "" {
					want = "failed to read the name servers: read " + file + ": " + tt.refused + "\n"
					ok = errors.As(err, &status) && status.ExitCode() == 1
				} else if tt.found == "" {
					want = "resolv.conf names no server"
				}
				if !ok || !strings.Contains(stderr, want) {
					t.Errorf("%s: %v\n%s%swant %s", place, err, stdout, stderr, want)
				}
				if now := ownText(t, p); tt.refused != "" && now != before {
					t.Errorf("%s: from\n%s\nit has changed rules to\n%s", place, before, now)
				}
			}
		})
	}
}
