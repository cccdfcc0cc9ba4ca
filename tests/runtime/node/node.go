// Package node makes a machine of a cluster for tests: a network namespace with a real
// container runtime, containerd from the distribution's package, whose pods are on a real
// chain of CNI plugins. A kubelet can be put on top; package kube of the module tests/cluster
// does.
//
// Everything of a node is in its folder and in namespaces of its own, of processes, mounts
// and network. These go with their first process, which ends when the test's process does.
package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/meshtables/meshtables/tests/lab"
)

// Node is a machine with a container runtime.
type Node struct {
	// Host is its network namespace.
	Host *lab.Namespace
	// Folder has everything of it.
	Folder string

	first   *exec.Cmd
	hold    io.Closer
	runtime *exec.Cmd
	conn    *grpc.ClientConn
}

// Programs are those that a node needs.
func Programs() []string { return []string{"containerd", "ctr", "runc", "umoci", "nsenter"} }

// PluginFolder is where the distribution has the plugins of the project
// github.com/containernetworking/plugins.
const PluginFolder = "/usr/lib/cni"

// Available returns nil if this machine can make a node, else the reason why not.
func Available() error {
	for _, name := range Programs() {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(PluginFolder, "ptp")); err != nil {
		return err
	}
	return lab.Available()
}

// New makes a node in an empty folder with a short name, because it holds sockets. The runtime
// is started with [Node.Start]. The images of pods hold one program, a static file.
func New(ctx context.Context, folder string) (*Node, error) {
	n := &Node{Folder: folder}
	if err := n.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to make a node: %w", err), n.Close())
	}
	return n, nil
}

func (n *Node) build(ctx context.Context) error {
	var err error
	if n.Host, err = lab.NewHost(ctx); err != nil {
		return err
	}
	for _, dir := range []string{n.Plugins(), n.Configurations(), n.path("log")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	plugins, err := filepath.Glob(filepath.Join(PluginFolder, "*"))
	if err != nil {
		return err
	}
	for _, p := range plugins {
		if err := os.Symlink(p, filepath.Join(n.Plugins(), filepath.Base(p))); err != nil {
			return err
		}
	}
	return n.makeNamespaces()
}

// Plugins is the folder of the CNI plugins, and Configurations that of their configuration.
func (n *Node) Plugins() string        { return n.path("bin") }
func (n *Node) Configurations() string { return n.path("net.d") }

// Socket is the runtime's.
func (n *Node) Socket() string { return n.path("c.sock") }

// Log is the file of what the runtime prints, and what its plugins print to stderr.
func (n *Node) Log() string { return n.path("containerd.log") }

func (n *Node) path(name string) string { return filepath.Join(n.Folder, name) }

// script makes the node's own view of the machine, then waits for the end of its input. /run
// and the runtime's cache of CNI results are its own; the file systems of control groups
// stay.
const script = `
mount --make-rprivate / &&
mount -t proc proc /proc &&
mount -t tmpfs run /run &&
mkdir -p /run/netns /var/lib/cni &&
mount -t tmpfs cni /var/lib/cni &&
echo ready && exec cat`

// makeNamespaces starts the first process of the node. It is in the host's network
// namespace, because the thread that starts it is.
func (n *Node) makeNamespaces() error {
	n.first = exec.Command("sh", "-c", script)
	n.first.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	n.first.Stderr = os.Stderr
	stdin, err := n.first.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := n.first.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.Host.Do(n.first.Start); err != nil {
		return err
	}
	n.hold = stdin
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("the first process says %q: %w", line, err)
	}
	return nil
}

// Command returns a run of a program on the node: in its namespaces, as root.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(n.first.Process.Pid), "--pid", "--mount", "--net", "--", name}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// Daemon returns a run of a program that stays, and that [Node.Signal] knows by a name.
// nsenter forks to enter a namespace of processes, so a shell tells which process it is.
func (n *Node) Daemon(as, name string, args ...string) *exec.Cmd {
	words := append([]string{"-c", `echo $$ >"$0" && exec "$@"`, n.path(as + ".pid"), name}, args...)
	return n.Command(context.Background(), "sh", words...)
}

// Signal sends a signal, such as TERM, to a process that [Node.Daemon] has started.
func (n *Node) Signal(ctx context.Context, as, signal string) error {
	text, err := os.ReadFile(n.path(as + ".pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	_, err = n.Run(ctx, "kill", "-"+signal, strconv.Itoa(pid))
	return err
}

// Run runs a program on the node and returns what it printed.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := n.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return string(out), err
}

// File returns where this process finds a file of the node, such as a pod's network namespace.
func (n *Node) File(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", n.first.Process.Pid, path)
}

// Close ends every process of the node, and removes its namespaces. The folder is left.
func (n *Node) Close() error {
	var errs []error
	if n.conn != nil {
		errs = append(errs, n.conn.Close())
	}
	if n.first != nil && n.first.Process != nil {
		n.hold.Close()
		_ = n.first.Process.Kill()
		_ = n.first.Wait()
	}
	if n.runtime != nil {
		_ = n.runtime.Wait()
	}
	if n.Host != nil {
		errs = append(errs, n.Host.Close())
	}
	return errors.Join(append(errs, n.removeControlGroups())...)
}

// ControlGroup is the name of the control group of the node's pods.
func (n *Node) ControlGroup() string { return "meshtables-" + filepath.Base(n.Folder) }

// removeControlGroups removes the control groups of the node's pods, of every hierarchy.
// Those that are inside come first.
func (n *Node) removeControlGroups() error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/%s", "/sys/fs/cgroup/*/%s"} {
		roots, _ := filepath.Glob(fmt.Sprintf(pattern, n.ControlGroup()))
		for _, root := range roots {
			var folders []string
			_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			for _, folder := range slices.Backward(folders) {
				errs = append(errs, unix.Rmdir(folder))
			}
		}
	}
	return errors.Join(errs...)
}

// logged returns the lines of the log with a word.
func (n *Node) logged(word string) (lines []string) {
	text, _ := os.ReadFile(n.Log())
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, word) {
			lines = append(lines, line)
		}
	}
	return lines
}
