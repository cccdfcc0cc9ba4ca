package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/cluster/kube"
	"github.com/meshtables/meshtables/tests/runtime/node"
)

// programsVariable names the folder with the programs of Kubernetes, of Istio and of a runtime
// that scripts/cluster has built, and imageVariable the archive of the image that "make image" has
// written.
const (
	programsVariable = "MESHTABLES_CLUSTER_PROGRAMS"
	imageVariable    = "MESHTABLES_IMAGE"
)

// The programs that the tests build: what the images of pods hold, and meshtables.
var workload, program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if os.Getenv(programsVariable) == "" {
		fmt.Fprintln(os.Stderr, "run these tests with: make cluster")
		return 1
	}
	dir, err := os.MkdirTemp("", "meshtables-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	workload, program = filepath.Join(dir, "workload"), filepath.Join(dir, "meshtables")
	for path, folder := range map[string]string{workload: "workload", program: "../../cmd/meshtables"} {
		if err := built.Build(folder, path, ".", built.Stripped()...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// The images, as the manifests name them, with a tag that is not pulled again.
const (
	meshtablesImage = "registry.example/meshtables"
	programsImage   = "registry.example/meshtables-programs"
	imageTag        = "test"
)

// newCluster makes a cluster with the images on its node.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	// Sockets have short names (unix(7)).
	folder, err := os.MkdirTemp("", "kube-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	// Root of a pod with users of its own is nobody special here, and has to get to its files.
	if err := os.Chmod(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	images := []node.Image{
		node.Program(node.PauseImage, workload, "pause"),
		node.Program("registry.example/application:"+imageTag, workload),
		node.Program("registry.example/proxy:"+imageTag, workload, "proxy"),
		imageOfPrograms(t),
	}
	c, err := kube.New(t.Context(), folder, os.Getenv(programsVariable), images...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.ImportImage(context.WithoutCancel(t.Context()), os.Getenv(imageVariable), meshtablesImage, imageTag); err != nil {
		t.Fatal(err)
	}
	return &cluster{c}
}
