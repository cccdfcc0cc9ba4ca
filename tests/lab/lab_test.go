package lab_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/lab"
)

func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	if err := lab.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestDoRunsInsideOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	outside := here(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			var inside string
			if err := l.Pod.Do(func() error { inside = here(t); return nil }); err != nil {
				t.Error(err)
			}
			if inside == outside {
				t.Error("Do ran its function in the test's own namespace")
			}
			if got := here(t); got != outside {
				t.Errorf("after Do a goroutine is in %s, not %s", got, outside)
			}
		})
	}
	wg.Wait()
}

func TestDoReturnsTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	want := errors.New("this one")
	if err := l.Pod.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestClosedNamespaceRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := l.Pod
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Do(func() error { t.Error("Do ran its function after Close"); return nil }); err == nil {
		t.Error("Do after Close returned no error")
	}
	if err := n.Run(t.Context(), lab.Command{Path: "true"}); err == nil {
		t.Error("Run after Close returned no error")
	}
	// The cleanup of newLab closes once more: that must be harmless.
}

func TestIdentityStaysWithItsThread(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	who := lab.Identity{UID: 1337, GID: 4711}
	err := l.Pod.As(who, func() error {
		uid, gid := threadIDs()
		if uid != 1337 || gid != 4711 {
			return fmt.Errorf("the thread is uid %d gid %d, want %s", uid, gid, who)
		}
		groups, err := unix.Getgroups()
		if err == nil && len(groups) != 0 {
			err = fmt.Errorf("the thread has supplementary groups %v", groups)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if uid, gid := threadIDs(); uid != 0 || gid != 0 {
		t.Errorf("the test itself became uid %d gid %d", uid, gid)
	}
}

func TestTrafficOfBothFamilies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, f := range lab.Families() {
		t.Run(string(f), func(t *testing.T) {
			at := lab.Outside.Port(f, 80)
			if err := l.Peer.ServeTCP("server", lab.Socket{}, at); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Pod.DialTCP(t.Context(), lab.Client{}, at)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want := lab.Answer{Server: "server", Local: at, Client: conn.Local()}
			if conn.Answer != want {
				t.Errorf("TCP answer %+v, want %+v", conn.Answer, want)
			}
			if conn.Local().Addr() != lab.PodAddr.In(f) {
				t.Errorf("the pod connects from %s, want %s", conn.Local(), lab.PodAddr.In(f))
			}
			if err := conn.Echo("hello"); err != nil {
				t.Error(err)
			}
			if err := l.Peer.ServeUDP("server", lab.Socket{}, at); err != nil {
				t.Fatal(err)
			}
			answer, err := l.Pod.AskUDP(t.Context(), lab.Client{}, at)
			if err != nil {
				t.Fatal(err)
			}
			if answer.Server != "server" || answer.Local != at || answer.Query != "hello" {
				t.Errorf("UDP answer %+v", answer)
			}
		})
	}
}

func TestRunIsInsideWithItsOwnNameServers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var inside string
	if err := l.Pod.Do(func() error { inside = here(t); return nil }); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		servers []netip.Addr
		want    string
	}{
		{"unset", nil, "nameserver 10.96.0.10\nnameserver fd00:10:96::10\n"},
		{"one", []netip.Addr{lab.Outside.V4}, "nameserver 203.0.113.10\n"},
		{"none", []netip.Addr{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := l.Pod.Run(t.Context(), lab.Command{
				Path:        "sh",
				Args:        []string{"-c", "readlink /proc/self/ns/net; cat /etc/resolv.conf"},
				NameServers: tt.servers,
				Stdout:      &out,
			})
			if err != nil {
				t.Fatal(err)
			}
			ns, resolv, _ := strings.Cut(out.String(), "\n")
			if ns != inside {
				t.Errorf("the program ran in %s, want %s", ns, inside)
			}
			if resolv != tt.want {
				t.Errorf("the program's resolv.conf is %q, want %q", resolv, tt.want)
			}
		})
	}
}

// here identifies the network namespace of the calling thread.
func here(t *testing.T) string {
	t.Helper()
	id, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return id
}

func threadIDs() (uid, gid uintptr) {
	uid, _, _ = unix.RawSyscall(unix.SYS_GETUID, 0, 0, 0)
	gid, _, _ = unix.RawSyscall(unix.SYS_GETGID, 0, 0, 0)
	return uid, gid
}

// In a lab with ids of its own a program is root, and who opens a socket is as the
// pod has it: that is what the kernel tells in the pod's own user namespace.
func TestIDsOfAPod(t *testing.T) {
	t.Parallel()
	newLab(t) // where none can be made, neither can this
	l, err := lab.NewWithIDs(t.Context(), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	how := lab.Socket{As: lab.Identity{UID: 1337, GID: 1338}}
	if err := l.Pod.ServeTCP("server", how, lab.Addr{V4: netip.IPv4Unspecified()}.Port(lab.IPv4, 8080)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	script := "id -u; cat /proc/self/uid_map; ss --tcp --listening --no-header --extended"
	if err := l.Pod.Run(t.Context(), lab.Command{Path: "sh", Args: []string{"-c", script}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"0 0 100000 65536 ", " uid:1337 "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}
