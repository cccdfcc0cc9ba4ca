package tests

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// instruction is one of a Dockerfile, such as USER with "65532:0".
type instruction struct{ name, text string }

// stage is what is built FROM something.
type stage []instruction

// The stages of deploy/Dockerfile, in order.
const (
	buildStage = iota
	programsStage
	imageStage
	stages
)

var continued = regexp.MustCompile(`\\\n\s*`)

// parseDockerfile returns the stages of deploy/Dockerfile, without comments.
func parseDockerfile(t *testing.T) []stage {
	t.Helper()
	var found []stage
	text := continued.ReplaceAllString(readDocument(t, "../deploy/Dockerfile"), "")
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if name == "FROM" {
			found = append(found, nil)
		}
		last := &found[len(found)-1]
		*last = append(*last, instruction{name, rest})
	}
	if len(found) != stages {
		t.Fatalf("%d stages, want %d", len(found), stages)
	}
	return found
}

// text returns what the only instruction of that name says, or the only one of which
// the text contains something.
func (s stage) text(t *testing.T, name, contains string) string {
	t.Helper()
	var found []string
	for _, i := range s {
		if i.name == name && strings.Contains(i.text, contains) {
			found = append(found, i.text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d instructions %s with %q, want 1", len(found), name, contains)
	}
	return found[0]
}

var pair = regexp.MustCompile(`([^ =]+)=("[^"]*"|[^ ]*)`)

// pairs returns what LABEL or ENV sets, with the build's arguments in it.
func pairs(text string, arguments map[string]string) map[string]string {
	set := make(map[string]string)
	for _, m := range pair.FindAllStringSubmatch(text, -1) {
		set[m[1]] = os.Expand(strings.Trim(m[2], `"`), func(name string) string { return arguments[name] })
	}
	return set
}

// sh runs a command of the Dockerfile in a clone, where path stands for /meshtables.
func sh(t *testing.T, clone, command, path string, arguments map[string]string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, " /meshtables", " "+path))
	cmd.Dir, cmd.Env = clone, os.Environ()
	for name, value := range arguments {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%v\n%s", command, err, out)
	return err
}

// The Dockerfile makes what scripts/image makes of the same clone. No engine is needed
// to see that, nor is one shown to build it: its commands for the program are run by a
// shell, and its settings are read.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	clone := tagged(t, "v0.9.8")
	config, program := imageOf(t, clone)
	labels := config.Labels
	arguments := map[string]string{
		"TARGETOS": "linux", "TARGETARCH": runtime.GOARCH, "VERSION": labels[v1.AnnotationVersion],
		"REVISION": labels[v1.AnnotationRevision], "CREATED": labels[v1.AnnotationCreated],
	}
	all := parseDockerfile(t)

	image := all[imageStage]
	wantEqual(t, "labels", labels, pairs(image.text(t, "LABEL", ""), arguments))
	var environment []string
	for key, value := range pairs(image.text(t, "ENV", ""), nil) {
		environment = append(environment, key+"="+value)
	}
	wantEqual(t, "environment", config.Env, environment)
	wantEqual(t, "user", config.User, image.text(t, "USER", ""))

	programs := all[programsStage]
	ofPrograms := pairs(programs.text(t, "LABEL", ""), arguments)
	ofPrograms[v1.AnnotationLicenses] = "left out"
	wantEqual(t, "names of labels", slices.Sorted(maps.Keys(labels)), slices.Sorted(maps.Keys(ofPrograms)))
	for _, s := range []stage{image, programs} {
		var entrypoint []string
		if err := json.Unmarshal([]byte(s.text(t, "ENTRYPOINT", "")), &entrypoint); err != nil {
			t.Error(err)
		}
		wantEqual(t, "entrypoint", config.Entrypoint, entrypoint)
		wantEqual(t, "program", "--from=build /meshtables "+config.Entrypoint[0], s.text(t, "COPY", "/meshtables"))
	}

	path := filepath.Join(t.TempDir(), "meshtables")
	if err := sh(t, clone, all[buildStage].text(t, "RUN", "go build"), path, arguments); err != nil {
		t.Fatal(err)
	}
	if built := readDocument(t, path); !bytes.Equal([]byte(built), program) {
		t.Error("the program is another than that of scripts/image")
	}
	// What checkFiles wants of the file.
	wantEqual(t, "capability", "setcap cap_net_admin=p /meshtables", all[buildStage].text(t, "RUN", "setcap cap"))
	checkArguments(t, clone, all[buildStage].text(t, "RUN", "go version"), path, arguments)
	checkHeader(t, clone, arguments)
}

// asked is an argument of a build that a command tells.
var asked = regexp.MustCompile(`--build-arg ([A-Z]+)="\$\((.*)\)"`)

// checkHeader runs the commands by which the comment at the top gets the arguments.
func checkHeader(t *testing.T, clone string, arguments map[string]string) {
	t.Helper()
	found := asked.FindAllStringSubmatch(readDocument(t, "../deploy/Dockerfile"), -1)
	if len(found) != 2 {
		t.Errorf("the comment tells %d arguments by commands, want 2", len(found))
	}
	for _, m := range found {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", m[2])
		cmd.Dir = clone
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", m[2], err)
		}
		wantEqual(t, m[1], arguments[m[1]], strings.TrimSpace(string(out)))
	}
}

// checkArguments sees that labels which are not the program's stop the build.
func checkArguments(t *testing.T, clone, command, path string, arguments map[string]string) {
	t.Helper()
	if err := sh(t, clone, command, path, arguments); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"VERSION", "REVISION", "CREATED"} {
		other := maps.Clone(arguments)
		other[name] = ""
		if err := sh(t, clone, command, path, other); err == nil {
			t.Errorf("a build without %s succeeds", name)
		}
	}
}

// The stage that builds has the version of Go that go.mod wants, and its context has
// everything that git knows: else the version were "+dirty".
func TestDockerfileContext(t *testing.T) {
	t.Parallel()
	from := parseDockerfile(t)[buildStage].text(t, "FROM", "")
	version := regexp.MustCompile(`\bgolang:(\d+\.\d+)-`).FindStringSubmatch(from)
	if version == nil || !strings.Contains(readDocument(t, "../go.mod"), "\ngo "+version[1]) {
		t.Errorf("FROM %s is not of the version of Go that go.mod has", from)
	}
	ignored := strings.Split(readDocument(t, "../.gitignore"), "\n")
	for line := range strings.SplitSeq(readDocument(t, "../.dockerignore"), "\n") {
		if !strings.HasPrefix(line, "#") && !slices.Contains(ignored, line) {
			t.Errorf(".dockerignore has %q, which git does not ignore", line)
		}
	}
}

// imageOf returns the settings and the program of the image that scripts/image makes
// of a clone, for this machine's architecture.
func imageOf(t *testing.T, clone string) (v1.ImageConfig, []byte) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "meshtables.oci.tar")
	cmd := exec.CommandContext(t.Context(), "go", "run", "./scripts/image", archive)
	cmd.Dir = clone
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	layout := readLayout(t, archive)
	var outer, platforms v1.Index
	layout.decode(t, "index.json", &outer)
	layout.blob(t, outer.Manifests[0], &platforms)
	i := slices.IndexFunc(platforms.Manifests, func(d v1.Descriptor) bool { return d.Platform.Architecture == runtime.GOARCH })
	var manifest v1.Manifest
	var image v1.Image
	layout.blob(t, platforms.Manifests[i], &manifest)
	layout.blob(t, manifest.Config, &image)
	return image.Config, checkFiles(t, gunzip(t, layout.blob(t, manifest.Layers[0], nil)))
}

func wantEqual(t *testing.T, what string, image, dockerfile any) {
	t.Helper()
	if diff := cmp.Diff(image, dockerfile); diff != "" {
		t.Errorf("%s of scripts/image (-), of the Dockerfile (+):\n%s", what, diff)
	}
}
