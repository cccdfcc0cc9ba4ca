package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshtables/meshtables/tests/lab"
)

// node is a pod's network namespace and a bundle to run its containers from, one
// after the other.
type node struct {
	*lab.Lab
	bundle string
	// image is what the image says.
	image specs.Spec
	// programs are mounts that add programs to the image.
	programs []specs.Mount
	// ids are the pod's own, if it has any.
	ids *ownIDs
	// folders are instead of the node's, by their paths there.
	folders map[string]string
	runs    int
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{bundle: unpack(t)}
	text, err := os.ReadFile(filepath.Join(n.bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &n.image); err != nil {
		t.Fatal(err)
	}
	if n.Lab, err = lab.New(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// result is what a container did.
type result struct {
	status         int
	stdout, stderr string
}

// run runs a container of the pod as a node does. The words are added to its
// arguments, or, where the first is a verb, come before them.
func (n *node) run(t *testing.T, pod *corev1.Pod, c corev1.Container, words ...string) result {
	t.Helper()
	spec := n.configure(t, pod, &c, words)
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.bundle, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	n.runs++
	name := fmt.Sprintf("meshtables-%d-%s-%d", os.Getpid(), filepath.Base(filepath.Dir(filepath.Dir(n.bundle))), n.runs)
	var stdout, stderr bytes.Buffer
	run := n.Pod.Run
	if n.ids != nil {
		run = n.ids.start
	}
	err = run(t.Context(), lab.Command{
		Path:   "runc",
		Args:   []string{"--root", filepath.Join(n.bundle, "state"), "run", "--bundle", n.bundle, name},
		Stdout: &stdout, Stderr: &stderr,
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit != nil {
		r.status = exit.ExitCode()
	}
	return r
}

// configure turns a container into what a kubelet and containerd ask a runtime
// for: the image's settings with the manifest's on top of them.
func (n *node) configure(t *testing.T, pod *corev1.Pod, c *corev1.Container, words []string) specs.Spec {
	t.Helper()
	security := c.SecurityContext
	spec := n.image
	process := *n.image.Process
	spec.Process = &process
	process.Terminal = false
	process.Args = slices.Concat(n.image.Process.Args, arguments(c.Args, words))
	process.User = specs.User{UID: uint32(*security.RunAsUser), GID: uint32(*security.RunAsGroup)}
	process.NoNewPrivileges = !*security.AllowPrivilegeEscalation
	// containerd and CRI-O ask for these three sets, and never for the ambient one
	// (https://github.com/moby/moby/issues/45491).
	var capabilities []string
	for _, added := range security.Capabilities.Add {
		capabilities = append(capabilities, "CAP_"+string(added))
	}
	process.Capabilities = &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}

	spec.Root = &specs.Root{Path: "rootfs", Readonly: *security.ReadOnlyRootFilesystem}
	spec.Mounts = slices.Concat(systemMounts(), n.programs, n.volumeMounts(t, pod, c))
	spec.Linux = &specs.Linux{
		// No network namespace: that of the pod is there before its containers.
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		},
		Seccomp: defaultSeccomp(t, capabilities),
		// containerd's defaults (pkg/oci/spec.go).
		MaskedPaths: []string{
			"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware",
		},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if n.ids != nil {
		n.ids.configure(&spec)
	}
	return spec
}

// addPrograms gives the containers the programs of this machine. The image's own
// moves out of the way, for it is below the /usr that is mounted over it.
func (n *node) addPrograms(t *testing.T) {
	t.Helper()
	root := filepath.Join(n.bundle, "rootfs")
	if err := os.Rename(filepath.Join(root, "usr/local/bin/meshtables"), filepath.Join(root, "meshtables")); err != nil {
		t.Fatal(err)
	}
	n.image.Process.Args = []string{"/meshtables"}
	for _, folder := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+folder, filepath.Join(root, folder)); err != nil {
			t.Fatal(err)
		}
	}
	n.programs = []specs.Mount{{Destination: "/usr", Source: "/usr", Options: []string{"rbind", "ro"}}}
}

func arguments(args, words []string) []string {
	if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return slices.Concat(words, args)
	}
	return slices.Concat(args, words)
}

// systemMounts are those that every container has.
func systemMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
}

// volumeMounts makes the volumes that the container mounts.
func (n *node) volumeMounts(t *testing.T, pod *corev1.Pod, c *corev1.Container) []specs.Mount {
	t.Helper()
	var mounts []specs.Mount
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		mount := specs.Mount{Destination: m.MountPath, Options: []string{"rbind"}}
		switch v := pod.Spec.Volumes[i]; {
		case v.DownwardAPI != nil:
			mount.Source = downwardAPI(t, v.DownwardAPI, pod)
		case v.HostPath != nil && n.folders[v.HostPath.Path] != "":
			mount.Source = n.folders[v.HostPath.Path]
		case v.EmptyDir != nil:
			mount.Type, mount.Source, mount.Options = "tmpfs", "tmpfs", []string{"mode=777"}
		default:
			t.Fatalf("volume %s is of a kind that the test cannot make", v.Name)
		}
		if m.ReadOnly {
			mount.Options = append(mount.Options, "ro")
		}
		mounts = append(mounts, mount)
	}
	return mounts
}

// downwardAPI writes the annotations as a kubelet does (FormatMap of
// k8s.io/kubernetes/pkg/fieldpath).
func downwardAPI(t *testing.T, source *corev1.DownwardAPIVolumeSource, pod *corev1.Pod) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, item := range source.Items {
		if item.FieldRef.FieldPath != "metadata.annotations" {
			t.Fatalf("the test cannot write %s", item.FieldRef.FieldPath)
		}
		var lines []string
		for key, value := range pod.Annotations {
			lines = append(lines, fmt.Sprintf("%s=%q", key, value))
		}
		slices.Sort(lines)
		if err := os.WriteFile(filepath.Join(dir, item.Path), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
