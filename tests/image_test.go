package tests

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// maxPull is how much an image may be to pull, for one platform.
const maxPull = 6e6

// buildImage runs what "make image" runs, with more in the environment.
func buildImage(t *testing.T, env ...string) (archive string) {
	t.Helper()
	dir := t.TempDir()
	writer := filepath.Join(dir, "image")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", writer, "../scripts/image").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	archive = filepath.Join(dir, "meshtables.oci.tar")
	cmd := exec.CommandContext(t.Context(), writer, archive)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return archive
}

// TestImageReproducible builds the image again where all is different that must
// not matter.
func TestImageReproducible(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile(buildImage(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(buildImage(t,
		"TMPDIR="+t.TempDir(), "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOAMD64=v3", "GOARM64=v9.0", "CGO_ENABLED=1"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ: sha256 %x and %x", sha256.Sum256(first), sha256.Sum256(second))
	}
	third, err := os.ReadFile(buildImage(t, "SOURCE_DATE_EPOCH=1"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, third) {
		t.Error("SOURCE_DATE_EPOCH makes no difference")
	}
}

// TestImageArchive follows the archive from its index to the program in it, for
// each platform.
func TestImageArchive(t *testing.T) {
	t.Parallel()
	layout := readLayout(t, buildImage(t, "SOURCE_DATE_EPOCH=1700000000"))
	var version v1.ImageLayout
	layout.decode(t, "oci-layout", &version)
	if version.Version != "1.0.0" {
		t.Errorf("layout version %q", version.Version)
	}
	var outer, platforms v1.Index
	layout.decode(t, "index.json", &outer)
	if len(outer.Manifests) != 1 {
		t.Fatalf("index.json lists %d images", len(outer.Manifests))
	}
	layout.blob(t, outer.Manifests[0], &platforms)
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if len(platforms.Manifests) != len(machines) {
		t.Fatalf("the index lists %d platforms", len(platforms.Manifests))
	}
	for _, m := range platforms.Manifests {
		machine, ok := machines[m.Platform.Architecture]
		if !ok || m.Platform.OS != "linux" {
			t.Fatalf("platform %+v", m.Platform)
		}
		labels := checkImage(t, layout, m, machine)
		// A tag must not have the plus sign of "+dirty" or the parentheses of "(devel)".
		want := strings.NewReplacer("+", "_", "(", "", ")", "").Replace(labels[v1.AnnotationVersion])
		if got := outer.Manifests[0].Annotations[v1.AnnotationRefName]; got != want {
			t.Errorf("the archive's name for the image is %q, want %q", got, want)
		}
		if diff := cmp.Diff(labels, platforms.Annotations); diff != "" {
			t.Errorf("labels (-), annotations of the index (+):\n%s", diff)
		}
	}
	if len(layout.unused) > 0 {
		t.Errorf("nothing refers to %q", layout.unused)
	}
}

// checkImage checks the image of one platform and returns its labels.
func checkImage(t *testing.T, layout *layout, at v1.Descriptor, machine elf.Machine) map[string]string {
	t.Helper()
	var manifest v1.Manifest
	layout.blob(t, at, &manifest)
	var config v1.Image
	layout.blob(t, manifest.Config, &config)
	if config.Platform.Architecture != at.Platform.Architecture || config.Platform.OS != at.Platform.OS {
		t.Errorf("%v in the index, %v in the image", at.Platform, config.Platform)
	}
	if config.Config.User != "65532:0" || !slices.Equal(config.Config.Entrypoint, []string{"/usr/local/bin/meshtables"}) {
		t.Errorf("config %+v", config.Config)
	}
	if len(manifest.Layers) != 1 {
		t.Fatalf("%d layers", len(manifest.Layers))
	}
	if size := at.Size + manifest.Config.Size + manifest.Layers[0].Size; size > maxPull {
		t.Errorf("%s: %d bytes to pull", at.Platform.Architecture, size)
	}
	files := gunzip(t, layout.blob(t, manifest.Layers[0], nil))
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(files)); string(config.RootFS.DiffIDs[0]) != got {
		t.Errorf("diff id %s, is %s", config.RootFS.DiffIDs[0], got)
	}
	program := checkFiles(t, files)
	checkStatic(t, program, machine)
	labels := wantLabels(t, program)
	if diff := cmp.Diff(labels, config.Config.Labels); diff != "" {
		t.Errorf("labels, want (-), are (+):\n%s", diff)
	}
	if diff := cmp.Diff(labels, manifest.Annotations); diff != "" {
		t.Errorf("annotations, want (-), are (+):\n%s", diff)
	}
	if at.Platform.Architecture == runtime.GOARCH {
		checkVersion(t, program, labels[v1.AnnotationVersion])
	}
	return labels
}

// checkFiles checks the list of files and returns the program.
func checkFiles(t *testing.T, files []byte) (program []byte) {
	t.Helper()
	var list []string
	for r := tar.NewReader(bytes.NewReader(files)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %o %d:%d %d %x", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(),
			h.PAXRecords["SCHILY.xattr.security.capability"]))
		if program, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	// The attribute is what "setcap cap_net_admin=p" sets.
	want := []string{
		"usr/ 755 0:0 1700000000 ",
		"usr/local/ 755 0:0 1700000000 ",
		"usr/local/bin/ 755 0:0 1700000000 ",
		"usr/local/bin/meshtables 755 0:0 1700000000 0000000200100000000000000000000000000000",
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
	return program
}

// checkStatic sees that the program is for the machine and needs nothing else.
func checkStatic(t *testing.T, program []byte, machine elf.Machine) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if file.Machine != machine {
		t.Errorf("the program is for %s, want %s", file.Machine, machine)
	}
	if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the program needs a dynamic linker")
	}
}

// TestImageReaders has programs that are not of this project read the archive:
// skopeo, which checks all digests, and umoci, which unpacks.
func TestImageReaders(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"skopeo", "umoci"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, err.Error())
		}
	}
	if os.Geteuid() != 0 {
		missing(t, "file capabilities can be unpacked by root only")
	}
	archive := buildImage(t)
	for _, arch := range []string{"amd64", "arm64"} {
		dir := t.TempDir()
		for _, args := range [][]string{
			{"skopeo", "copy", "--override-arch", arch, "oci-archive:" + archive, "oci:" + dir + "/layout:test"},
			{"umoci", "unpack", "--image", dir + "/layout:test", dir + "/bundle"},
		} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%q: %v\n%s", args, err, out)
			}
		}
		attribute := make([]byte, 64)
		size, err := unix.Getxattr(dir+"/bundle/rootfs/usr/local/bin/meshtables", "security.capability", attribute)
		if want := "0000000200100000000000000000000000000000"; err != nil || fmt.Sprintf("%x", attribute[:size]) != want {
			t.Errorf("%s: security.capability %x, %v, want %s", arch, attribute[:size], err, want)
		}
	}
}
