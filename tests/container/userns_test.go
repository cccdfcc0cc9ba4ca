package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/lab"
)

// TestUserNamespace runs the image as the manifest says in a pod with users of its own
// (hostUsers: false), as a node does: the user namespace is there before the containers,
// the pod's network namespace belongs to it, and the image is mounted with its ids.
// The capability of the program's file counts there too.
func TestUserNamespace(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-nft", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			pod := examplePod(t)
			n := newNodeWithIDs(t)
			ofRules, ofValidation := initContainer(t, &pod.Spec, applying), initContainer(t, &pod.Spec, validation)
			ofRules.Args = append(ofRules.Args, "--backend="+backend)

			expect(t, n.run(t, &pod, ofRules), 0, "applied: ")
			expect(t, n.run(t, &pod, ofRules, "verify"), 0, "as wanted ("+backend+")\n")
			checkArrived(t, n.run(t, &pod, ofValidation))
			expect(t, n.run(t, &pod, ofRules, "--cleanup-only"), 0, "removed\n")

			// There are no others than the pod's users.
			if r := n.run(t, &pod, ofRules, "--excluded-uids=65536"); r.status == 0 || !strings.Contains(r.stderr, "65536") {
				t.Errorf("a user that the pod has not: %+v", r)
			}
			program := filepath.Join(n.bundle, "rootfs/usr/local/bin/meshtables")
			if err := unix.Removexattr(program, "security.capability"); err != nil {
				t.Fatal(err)
			}
			if r := n.run(t, &pod, ofRules); r.status != 1 || !strings.Contains(r.stderr, "capability NET_ADMIN is missing") {
				t.Errorf("without the file's capability: %+v", r)
			}
		})
	}
}

// ownIDs are the users and groups of a pod that are others outside.
type ownIDs struct {
	namespace *os.File
	// root is the image, mounted so that the pod's users have what theirs have in it.
	root string
	// network is a file of the pod's network namespace.
	network string
}

// firstID is what user 0 of such a pod is outside, and countIDs how many there are; see
// [lab.NewWithIDs].
const (
	firstID  = 100_000
	countIDs = 1 << 16
)

// newNodeWithIDs is newNode with a pod that has users of its own.
func newNodeWithIDs(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	own, err := lab.NewWithIDs(t.Context(), firstID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Lab = own
	namespace := userNamespace(t, own.Pod.File())
	n.ids = &ownIDs{namespace: namespace, root: mountAs(t, n.bundle, namespace), network: own.Pod.File()}
	return n
}

// userNamespace returns the one that a network namespace belongs to.
func userNamespace(t *testing.T, network string) *os.File {
	t.Helper()
	file, err := os.Open(network)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const getUserNS = 0xb701 // NS_GET_USERNS of linux/nsfs.h, ioctl_ns(2)
	fd, err := unix.IoctlRetInt(int(file.Fd()), getUserNS)
	if err != nil {
		t.Fatal(err)
	}
	namespace := os.NewFile(uintptr(fd), "user namespace")
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

// mountAs mounts the image of a bundle once more, with the ids of a user namespace
// (mount_setattr(2), "ID-mapped mounts"), until the test ends.
func mountAs(t *testing.T, bundle string, namespace *os.File) (root string) {
	t.Helper()
	// The pod's root, who is nobody special outside, has to get there.
	for _, dir := range []string{bundle, filepath.Dir(bundle), filepath.Dir(filepath.Dir(bundle))} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	root = filepath.Join(bundle, "mapped")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(bundle, "rootfs"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(namespace.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		t.Fatal(err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, root, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return root
}

// configure has a container run with the pod's ids. Only the container enters the pod's
// namespaces; the runtime is outside, and root.
func (ids *ownIDs) configure(spec *specs.Spec) {
	spec.Root.Path = ids.root
	mappings := []specs.LinuxIDMapping{{ContainerID: 0, HostID: firstID, Size: countIDs}}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = mappings, mappings
	spec.Linux.Namespaces = append(spec.Linux.Namespaces,
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ids.namespace.Fd())},
		specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: ids.network})
}

// start runs the runtime, which needs the machine's root to map ids.
func (ids *ownIDs) start(ctx context.Context, c lab.Command) error {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	return cmd.Run()
}
