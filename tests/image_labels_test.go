package tests

import (
	"bytes"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// wantLabels returns what an image with this program has to say about itself. Version
// and revision are what the go command wrote into it: there is no revision where that
// found no repository.
func wantLabels(t *testing.T, program []byte) map[string]string {
	t.Helper()
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		v1.AnnotationTitle:       "meshtables",
		v1.AnnotationDescription: "makes a pod's traffic pass through its sidecar proxy",
		v1.AnnotationLicenses:    "Apache-2.0",
		v1.AnnotationSource:      "https://github.com/meshtables/meshtables",
		v1.AnnotationCreated:     "2023-11-14T22:13:20Z",
		v1.AnnotationVersion:     info.Main.Version,
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			want[v1.AnnotationRevision] = s.Value
		}
	}
	return want
}

// checkVersion compares what the program says with what the image says.
func checkVersion(t *testing.T, program []byte, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meshtables")
	writeProgram(t, path, program)
	out, err := exec.CommandContext(t.Context(), path, "--version").Output()
	if err != nil || strings.TrimSpace(string(out)) != "meshtables "+want {
		t.Errorf("the program says %q, %v, the image %q", out, err, want)
	}
}
