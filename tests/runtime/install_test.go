package runtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/runtime/node"
	"github.com/meshtables/meshtables/tests/soak"
)

// installing are the arguments to install the plugin on a node.
func installing(n *node.Node, words ...string) []string {
	return append([]string{"cni"}, append(words, "--plugin-folder="+n.Plugins(), "--network-folder="+n.Configurations())...)
}

// watch starts the program so that it stays until the returned function ends it. That one
// returns what it said.
func watch(t *testing.T, n *node.Node, words ...string) (end func() string) {
	t.Helper()
	cmd := n.Daemon("installer", program, installing(n, append(words, "--watch")...)...)
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &messages, &messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceValue(func() string {
		if err := n.Signal(context.Background(), "installer", "TERM"); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &messages)
		}
		return messages.String()
	})
	t.Cleanup(func() { end() })
	return end
}

// isInstalled reports whether a configuration has the plugin's entry.
func isInstalled(text string) bool { return strings.Contains(text, `"meshtables"`) }

// Pods are captured from the moment on that the plugin is installed, while another plugin
// writes the file anew, while a new version is installed, and until it is taken away. The
// pods that run stay captured. The program stays until they have ended.
func TestInstall(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	before := n.Chain()
	if err := n.WriteChain(before); err != nil {
		t.Fatal(err)
	}
	start(t, n)
	serveOutside(t, n)
	plain := serve(t, startPod(t, n, "plain", injected()))
	wantCaptured(t, n, plain, false)

	const ready = "127.0.0.1:15092"
	end := watch(t, n, "install", "--ready-address="+ready, "--proxy-uid=1337")
	installed := func() {
		t.Helper()
		if err := n.AwaitChain(t.Context(), isInstalled); err != nil {
			t.Fatal(err)
		}
	}
	installed()
	if got := probe(t, n.Host, ready); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("ready: %s", got)
	}
	first := serve(t, startPod(t, n, "first", injected()))
	wantCaptured(t, n, first, true)

	// Another plugin starts again, and writes what it knows.
	if err := n.WriteChain(before); err != nil {
		t.Fatal(err)
	}
	installed()
	wantVerified(t, n, startPod(t, n, "rewritten", injected()))

	if said := end(); strings.Count(said, "added to "+filepath.Join(n.Configurations(), node.ChainFile)) != 2 || strings.Count(said, "copied to ") != 1 {
		t.Errorf("said %s", said)
	}
	upgrade(t, n)

	uninstall := func(want string) {
		t.Helper()
		if out, err := n.Run(t.Context(), program, installing(n, "uninstall")...); err != nil || !strings.HasPrefix(out, want+"\n") {
			t.Errorf("uninstall: %v, want %q\n%s", err, want, out)
		}
	}
	uninstall("program kept")
	if text, err := os.ReadFile(filepath.Join(n.Configurations(), node.ChainFile)); err != nil || string(text) != before {
		t.Errorf("%v, %s", err, text)
	}
	if _, err := os.Stat(filepath.Join(n.Plugins(), "meshtables")); err != nil {
		t.Errorf("the program: %v", err)
	}
	if err := n.AwaitChain(t.Context(), func(text string) bool { return text == before }); err != nil {
		t.Fatal(err)
	}
	wantCaptured(t, n, first, true)
	last := serve(t, startPod(t, n, "last", injected()))
	wantCaptured(t, n, last, false)
	if err := first.Remove(t.Context()); err != nil {
		t.Errorf("a pod from before: %v", err)
	}
	uninstall("program kept")
	if err := n.RemovePods(t.Context(), last.ID); err != nil {
		t.Error(err)
	}
	uninstall("uninstalled\n  program  " + filepath.Join(n.Plugins(), "meshtables"))
	uninstall("nothing to remove")
	uninstallWatching(t, n)
	if err := last.Remove(t.Context()); err != nil {
		t.Errorf("a pod from after: %v", err)
	}
}

// uninstallWatching installs the plugin and uninstalls it, while a pod runs that needs it. Whoever
// asks is told when all is gone.
func uninstallWatching(t *testing.T, n *node.Node) {
	t.Helper()
	if _, err := n.Run(t.Context(), program, installing(n, "install")...); err != nil {
		t.Fatal(err)
	}
	if err := n.AwaitChain(t.Context(), isInstalled); err != nil {
		t.Fatal(err)
	}
	p := startPod(t, n, "watched", injected())
	const ready = "127.0.0.1:15093"
	end := watch(t, n, "uninstall", "--ready-address="+ready)
	if err := n.AwaitChain(t.Context(), func(text string) bool { return !isInstalled(text) }); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(n.Plugins(), "meshtables") + " is there; pods that need it to end: 1\n"
	if got := probe(t, n.Host, ready); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, want) {
		t.Errorf("ready: %s", got)
	}
	if err := p.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := ""
	for start := time.Now(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") && time.Since(start) < time.Minute; time.Sleep(time.Second) {
		got = probe(t, n.Host, ready)
	}
	if _, err := os.Stat(filepath.Join(n.Plugins(), "meshtables")); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !os.IsNotExist(err) {
		t.Errorf("at last: %s, %v", got, err)
	}
	for _, want := range []string{"removed from " + filepath.Join(n.Configurations(), node.ChainFile), "stays until the pods that need it have ended: 1", "removed " + filepath.Join(n.Plugins(), "meshtables")} {
		if said := end(); strings.Count(said, want) != 1 {
			t.Errorf("said %s, want %s once", said, want)
		}
	}
}

// upgrade installs two programs in turn, as different versions are, while pods start. All
// pods are captured.
func upgrade(t *testing.T, n *node.Node) {
	t.Helper()
	other := filepath.Join(n.Folder, "other")
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(text, "another version"...), 0o755); err != nil {
		t.Fatal(err)
	}
	var started atomic.Int64
	want := int64(soak.Times(3, 30))
	pods := make(chan error, 1)
	go func() {
		var err error
		for i := int64(0); i < want && err == nil; i++ {
			var p *node.Pod
			if p, err = n.StartPod(t.Context(), node.Spec{Namespace: "shop", Name: fmt.Sprintf("cart-%d", i), Annotations: injected()}); err == nil {
				var out string
				if out, err = verify(t.Context(), n, p); err != nil {
					err = fmt.Errorf("%s: %w\n%s", p.Name, err, out)
				}
			}
			started.Add(1)
		}
		pods <- err
	}()
	upgrades := 0
	for ; started.Load() < want; upgrades++ {
		version := program
		if upgrades%2 == 0 {
			version = other
		}
		if _, err := n.Run(t.Context(), version, installing(n, "install", fmt.Sprintf("--excluded-outbound-ports=%d", 1+upgrades%2))...); err != nil {
			t.Error(err)
			break
		}
	}
	if err := <-pods; err != nil {
		t.Error(err)
	}
	t.Logf("%d upgrades while %d pods started", upgrades, want)
}

// probe asks as the kubelet does whether a program is ready.
func probe(t *testing.T, from *lab.Namespace, address string) (answer string) {
	t.Helper()
	err := from.Do(func() error {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+address+"\r\nUser-Agent: kube-probe/1.34\r\n\r\n"); err != nil {
			return err
		}
		text, err := io.ReadAll(conn)
		answer = string(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return answer
}
