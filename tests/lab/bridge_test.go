package lab_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

func newNode(t *testing.T) *lab.Node {
	t.Helper()
	if err := lab.Available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	node, err := lab.NewNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// say sends a word to an echo server and returns what comes back.
func say(t *testing.T, from *lab.Namespace, to netip.AddrPort, word string) string {
	t.Helper()
	conn, err := from.Dial(t.Context(), "tcp", lab.Client{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, word); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	heard, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(heard)
}

// Everyone on a node reaches a pod, over both families, and the port of the bridge
// that leads there sees it.
func TestNodeIsJoinedAndTapped(t *testing.T) {
	t.Parallel()
	node := newNode(t)
	for _, f := range lab.Families() {
		at := lab.NodePodAddr(1).Port(f, 7)
		stop, err := node.Pods[1].Listen(lab.Socket{}, at, func(listener net.Listener) {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, from := range map[string]*lab.Namespace{"host": node.Host, "pod": node.Pods[0]} {
			tap, err := node.Host.Tap(lab.NodePort(1))
			if err != nil {
				t.Fatal(err)
			}
			word := "hello from the " + name
			if heard := say(t, from, at, word); heard != word {
				t.Errorf("%s, %s: said %q, heard %q", f, name, word, heard)
			}
			frames, err := tap.Stop()
			if err != nil {
				t.Fatal(err)
			}
			if seen := bytes.Count(bytes.Join(frames, nil), []byte(word)); seen < 2 {
				t.Errorf("%s, %s: the tap saw the word %d times, want it in both directions", f, name, seen)
			}
		}
		stop()
		if conn, err := node.Host.Dial(t.Context(), "tcp", lab.Client{}, at); err == nil {
			conn.Close()
			t.Errorf("%s: connected after the server had stopped", f)
		}
	}
}
