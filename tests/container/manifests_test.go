package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const deploy = "../../deploy"

// The containers that are meshtables, by their names.
const (
	applying   = "meshtables"
	validation = "meshtables-validation"
)

// examplePod returns deploy/pod.yaml, in which nothing may be that Kubernetes does
// not know.
func examplePod(t *testing.T) corev1.Pod {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "pod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(text, &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// initContainer returns one of a pod's init containers, by its name.
func initContainer(t *testing.T, spec *corev1.PodSpec, name string) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no init container %s", name)
	}
	return spec.InitContainers[i]
}

// The pod to copy and the component do the same, in the right order: rules first,
// then their validation, which takes the proxy's ports, then the proxy.
func TestKustomize(t *testing.T) {
	t.Parallel()
	want := examplePod(t).Spec
	for _, component := range []string{"netlink", "legacy"} {
		for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
			t.Run(component+" "+kind, func(t *testing.T) {
				t.Parallel()
				got := kustomized(t, component, kind)
				checkMounts(t, &got)
				var order []string
				for _, c := range got.InitContainers {
					order = append(order, c.Name)
				}
				if diff := cmp.Diff([]string{applying, validation, "proxy"}, order); diff != "" {
					t.Errorf("init containers:\n%s", diff)
				}
				if component == "legacy" {
					return
				}
				if diff := cmp.Diff(want.InitContainers[:2], got.InitContainers[:2]); diff != "" {
					t.Errorf("pod.yaml (-), component (+):\n%s", diff)
				}
				if diff := cmp.Diff(want.Volumes, got.Volumes); diff != "" {
					t.Errorf("volumes, pod.yaml (-), component (+):\n%s", diff)
				}
			})
		}
	}
}

// The example builds as it stands, and sets the version of the image.
func TestExample(t *testing.T) {
	t.Parallel()
	fs := onDisk(t)
	spec := podSpec(t, build(t, fs, "example"), "Deployment")
	if got := initContainer(t, &spec, applying).Image; got != "registry.example/meshtables:v0.1.0" {
		t.Errorf("image %s", got)
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	pod := examplePod(t)
	checkMounts(t, &pod.Spec)
}

// checkMounts sees that there is a volume for every mount, which no type demands.
func checkMounts(t *testing.T, spec *corev1.PodSpec) {
	t.Helper()
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				t.Errorf("container %s mounts %s, which is no volume", c.Name, m.Name)
			}
		}
	}
}

// kustomized returns the pods of the example's workload, made one of another kind,
// with a component applied.
func kustomized(t *testing.T, component, kind string) corev1.PodSpec {
	t.Helper()
	fs := onDisk(t)
	workload, err := fs.ReadFile("example/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(workload), "kind: Deployment", "kind: "+kind, 1)
	files := map[string]string{
		"test/workload.yaml": changed,
		"test/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
			"resources: [workload.yaml]\ncomponents: [../" + component + "]\n",
	}
	for path, text := range files {
		if err := fs.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return podSpec(t, build(t, fs, "test"), kind)
}

// onDisk returns the files of deploy/ in memory.
func onDisk(t *testing.T) filesys.FileSystem {
	t.Helper()
	fs := filesys.MakeFsInMemory()
	paths, err := filepath.Glob(filepath.Join(deploy, "*", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(deploy, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := fs.WriteFile(name, text); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// build is "kustomize build".
func build(t *testing.T, fs filesys.FileSystem, folder string) []byte {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// podSpec returns the pods of a workload, in which nothing may be that Kubernetes
// does not know.
func podSpec(t *testing.T, text []byte, kind string) corev1.PodSpec {
	t.Helper()
	var template *corev1.PodTemplateSpec
	var workload any
	switch kind {
	case "Deployment":
		d := new(appsv1.Deployment)
		workload, template = d, &d.Spec.Template
	case "StatefulSet":
		s := new(appsv1.StatefulSet)
		workload, template = s, &s.Spec.Template
	case "DaemonSet":
		d := new(appsv1.DaemonSet)
		workload, template = d, &d.Spec.Template
	default:
		t.Fatal(fmt.Errorf("unknown kind %s", kind))
	}
	if err := yaml.UnmarshalStrict(text, workload); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return template.Spec
}
