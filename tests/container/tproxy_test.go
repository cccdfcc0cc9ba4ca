package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/meshtables/meshtables/tests/lab"
)

// With the mode TPROXY of the annotation the proxy of deploy/pod.yaml cannot listen,
// and with what deploy/README.md says about its container it can, by either of two
// capabilities. Connections then come to it with both addresses as they were.
func TestTPROXY(t *testing.T) {
	t.Parallel()
	pod := patchedPod(t)
	n := newNode(t)
	expect(t, n.run(t, &pod, initContainer(t, &pod.Spec, applying)), 0, "applied: ")
	// The validation of the manifest tries less than it does with REDIRECT.
	expect(t, n.run(t, &pod, initContainer(t, &pod.Spec, validation)), 0, "cannot tell: ")
	n.addProxy(t)

	plain := examplePod(t)
	user, root := initContainer(t, &plain.Spec, "proxy"), initContainer(t, &pod.Spec, "proxy")
	n.checkRefused(t, &pod, user)
	n.checkRefused(t, &pod, adding(root))
	n.checkTransparent(t, &pod, root)
	n.checkTransparent(t, &pod, adding(root, "NET_ADMIN"))
	// A user other than root has only what the program's file has.
	n.checkRefused(t, &pod, adding(user, "NET_RAW"))
	n.setNetRaw(t)
	n.checkTransparent(t, &pod, adding(user, "NET_RAW"))
}

// patchedPod returns deploy/pod.yaml with the patch of deploy/README.md, as kustomize
// applies it.
func patchedPod(t *testing.T) corev1.Pod {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(document), "\n## TPROXY\n")
	_, section, _ = strings.Cut(section, "```yaml\n")
	patch, _, ok := strings.Cut(section, "```\n")
	if !ok {
		t.Fatal("deploy/README.md has no patch for TPROXY")
	}
	resource, err := os.ReadFile(filepath.Join(deploy, "pod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fs := filesys.MakeFsInMemory()
	for path, text := range map[string]string{
		"test/pod.yaml": string(resource), "test/patch.yaml": patch,
		"test/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
			"resources: [pod.yaml]\npatches: [{path: patch.yaml}]\n",
	} {
		if err := fs.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(build(t, fs, "test"), &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// adding returns a container that has these capabilities and no others.
func adding(c corev1.Container, capabilities ...corev1.Capability) corev1.Container {
	c.SecurityContext = c.SecurityContext.DeepCopy()
	c.SecurityContext.Capabilities.Add = capabilities
	return c
}

// proxyPath is where the stand-in of a proxy is.
const proxyPath = "/proxy"

// addProxy puts the stand-in of a proxy into the image, and makes it its program.
func (n *node) addProxy(t *testing.T) {
	t.Helper()
	path := filepath.Join(n.bundle, "rootfs", proxyPath)
	if err := command(t.Context(), "", "env", "CGO_ENABLED=0", "go", "build", "-o", path, "./proxy"); err != nil {
		t.Fatal(err)
	}
	process := *n.image.Process
	process.Args = []string{proxyPath}
	n.image.Process = &process
}

// setNetRaw does what "setcap cap_net_raw=ep" does to the file of the stand-in: struct
// vfs_cap_data of linux/capability.h, revision 2, with the effective bit.
func (n *node) setNetRaw(t *testing.T) {
	t.Helper()
	data := make([]byte, 20)
	data[0], data[3], data[5] = 1, 2, 1<<(unix.CAP_NET_RAW-8)
	if err := unix.Setxattr(filepath.Join(n.bundle, "rootfs", proxyPath), "security.capability", data, 0); err != nil {
		t.Fatal(err)
	}
}

// checkRefused runs a container that has to say why it cannot listen.
func (n *node) checkRefused(t *testing.T, pod *corev1.Pod, c corev1.Container) {
	t.Helper()
	if r := n.run(t, pod, c); r.status != 1 || !strings.Contains(r.stderr, "transparent: operation not permitted") {
		t.Errorf("user %d, %q: %+v", *c.SecurityContext.RunAsUser, c.SecurityContext.Capabilities.Add, r)
	}
}

// checkTransparent connects from outside to a port of the application, of each family,
// while a container runs that has to answer.
func (n *node) checkTransparent(t *testing.T, pod *corev1.Pod, c corev1.Container) {
	t.Helper()
	asked := make(chan error, 1)
	go func() {
		var err error
		for _, f := range lab.Families() {
			err = errors.Join(err, ask(t.Context(), n.Peer, lab.PodAddr.Port(f, 8080)))
		}
		asked <- err
	}()
	r := n.run(t, pod, c)
	if err := <-asked; err != nil || r != (result{}) {
		t.Errorf("user %d, %q: %v, %+v", *c.SecurityContext.RunAsUser, c.SecurityContext.Capabilities.Add, err, r)
	}
}

// ask connects to a server, which has to say who it is taken for and who connected. It
// may start later: what comes before is dropped, and is sent again.
func ask(ctx context.Context, from *lab.Namespace, to netip.AddrPort) error {
	conn, err := from.Dial(ctx, "tcp", lab.Client{Timeout: time.Minute}, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("to %s from %s", to, conn.LocalAddr()); string(got) != want {
		return fmt.Errorf("%q, want %q", got, want)
	}
	return nil
}
