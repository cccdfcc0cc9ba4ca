package host

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rootWith makes a root directory. A text that begins with "-> " is a link; a path that
// ends in a slash is a directory.
func rootWith(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		place := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(text, "-> "); isLink {
			err = os.Symlink(target, place)
		} else if !strings.HasSuffix(path, "/") {
			err = os.WriteFile(place, []byte(text), 0o644)
		} else {
			err = os.MkdirAll(place, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Links lead where they lead a process with that root: never out of it. The kernel and
// the walk for kernels that cannot agree.
func TestFindInRoot(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := rootWith(t, map[string]string{
		"file":             "the file",
		"etc/plain":        "plain",
		"etc/absolute":     "-> /run/target",
		"etc/relative":     "-> ../run/target",
		"etc/chain":        "-> /links/to/relative",
		"links":            "-> /",
		"to":               "-> etc/../etc",
		"run/target":       "target",
		"etc/far":          "-> ../../../../../../run/./target",
		"etc/outside":      "-> " + outside,
		"etc/up":           "-> /../../.." + outside,
		"etc/loop":         "-> loop",
		"etc/dangling":     "-> /none",
		"etc/through-file": "-> /file/none",
		"etc/directory/":   "",
	})
	for path, want := range map[string]string{
		"/file":                  "the file",
		"/etc/plain":             "plain",
		"//etc/.//plain":         "plain",
		"/etc/absolute":          "target",
		"/etc/relative":          "target",
		"/etc/chain":             "target",
		"/etc/far":               "target",
		"/../etc/plain":          "plain",
		"/etc/directory/../../.": "is a directory",
		"/etc/outside":           "no such file or directory",
		"/etc/up":                "no such file or directory",
		"/etc/loop":              "too many levels of symbolic links",
		"/etc/dangling":          "no such file or directory",
		"/etc/through-file":      "not a directory",
	} {
		for name, find := range map[string]func(*os.File, string) (*os.File, error){"kernel": findInRoot, "walk": walkInRoot} {
			got, err := readFound(root, path, find)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasSuffix(got, want) {
				t.Errorf("%s: %s: got %q, want %q", name, path, got, want)
			}
		}
	}
}

func readFound(root, path string, find func(*os.File, string) (*os.File, error)) (string, error) {
	dir, err := os.Open(root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	found, err := find(dir, path)
	if err != nil {
		return "", err
	}
	defer found.Close()
	if err := checkRegular(found); err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join("/proc/self/fd", fdName(found)))
	return string(text), err
}

// What is no regular file, or has no end, is an error at once, below the own root too.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	root := rootWith(t, map[string]string{
		"largest":    strings.Repeat("#", maxFileSize),
		"larger":     strings.Repeat("#", maxFileSize+1),
		"directory/": "",
		"device":     "-> null",
	})
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	endless, err := os.Create(filepath.Join(root, "endless"))
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	if err := endless.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	const size = "must have at most 64 KiB"
	for name, want := range map[string]string{
		"largest":   "",
		"larger":    size,
		"endless":   size,
		"directory": "must be a regular file, but is a directory",
		"pipe":      "must be a regular file, but is a named pipe",
		"device":    "must be a regular file, but is a device",
	} {
		for _, f := range []File{{Root: root, Path: "/" + name}, {Path: filepath.Join(root, name)}} {
			if _, err := os.Stat(f.String()); err != nil {
				continue // the device takes root
			}
			start := time.Now()
			text, err := f.read()
			if want != "" {
				want := "read " + f.String() + ": " + want
				if err == nil || err.Error() != want {
					t.Errorf("%+v: got %d bytes, %v, want %s", f, len(text), err, want)
				}
			} else if err != nil || len(text) != maxFileSize {
				t.Errorf("%+v: got %d bytes, %v", f, len(text), err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%+v takes %v", f, took)
			}
		}
	}
	// Our own root's cannot be opened at all.
	f := File{Root: root, Path: "/socket"}
	if _, err := f.read(); err == nil || !strings.HasSuffix(err.Error(), "must be a regular file, but is a socket") {
		t.Errorf("%+v: %v", f, err)
	}
}

// The walk closes what it opened on the way.
func TestWalkInRootCloses(t *testing.T) {
	root := rootWith(t, map[string]string{"a/b/c/file": "", "a/b/link": "-> /a/b/c/../none"})
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	before := openFiles(t)
	for _, path := range []string{"/a/b/c/file", "/a/b/link", "/a/../..", "/none"} {
		if found, err := walkInRoot(dir, path); err == nil {
			found.Close()
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("there were %d open files, and are %d", before, after)
	}
	if _, err := dir.ReadDir(1); err != nil && err != io.EOF {
		t.Errorf("the root is not open: %v", err)
	}
}

func fdName(f *os.File) string { return strconv.Itoa(int(f.Fd())) }

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
