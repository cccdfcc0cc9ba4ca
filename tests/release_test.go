package tests

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

// A release has everything, the programs are static and stripped, the checksums are
// right, and making it again from another clone gives the same bytes.
func TestRelease(t *testing.T) {
	t.Parallel()
	first, second := release(t, tagged(t, "v0.9.8")), release(t, tagged(t, "v0.9.8"))
	want := []string{
		"CHANGELOG.md", "LICENSE", "SHA256SUMS", "meshtables-linux-amd64", "meshtables-linux-arm64",
		"meshtables.8", "meshtables.oci.tar", "meshtables.spdx.json",
	}
	var sums strings.Builder
	for _, name := range fileNames(t, first) {
		a, b := readFile(t, first, name), readFile(t, second, name)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs from run to run", name)
		}
		if name != "SHA256SUMS" {
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(a), name)
		}
	}
	if got := fileNames(t, first); !slices.Equal(got, want) {
		t.Errorf("a release has %q, want %q", got, want)
	}
	if got := string(readFile(t, first, "SHA256SUMS")); got != sums.String() {
		t.Errorf("SHA256SUMS is\n%swant\n%s", got, sums.String())
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		wantStatic(t, filepath.Join(first, "meshtables-linux-"+arch), machine)
	}
	checkVersion(t, readFile(t, first, "meshtables-linux-"+runtime.GOARCH), "v0.9.8")
	checkBill(t, readFile(t, first, "meshtables.spdx.json"), filepath.Join(first, "meshtables-linux-amd64"))
}

// checkBill reads the bill of materials as SPDX, and sees that it has every module that
// the program has been linked with.
func checkBill(t *testing.T, text []byte, program string) {
	t.Helper()
	bill, err := json.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	described, err := spdxlib.GetDescribedPackageIDs(bill)
	if err != nil || len(described) != 1 {
		t.Fatalf("describes %q, %v", described, err)
	}
	if err := spdxlib.ValidateDocument(bill); err != nil {
		t.Error(err)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]string)
	for _, p := range bill.Packages {
		has[p.PackageName] = p.PackageVersion
	}
	for _, module := range append(info.Deps, &info.Main) {
		if has[module.Path] != module.Version {
			t.Errorf("%s is version %q, want %q", module.Path, has[module.Path], module.Version)
		}
	}
}

// Where nothing tells the version there is no release: it would look like any other.
func TestReleaseWithoutRepository(t *testing.T) {
	t.Parallel()
	clone := t.TempDir()
	copyClone(t, clone)
	dist := filepath.Join(clone, "dist")
	out, err := runRelease(t, clone, dist)
	if err == nil || !strings.Contains(out, "there is no .git here") {
		t.Errorf("%v\n%s", err, out)
	}
	if slices.Contains(fileNames(t, dist), "SHA256SUMS") {
		t.Error("there is a release all the same")
	}
}

// tagged returns a clone of what is here as one commit, the same one every time, with a
// tag.
func tagged(t *testing.T, tag string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		missing(t, err.Error())
	}
	clone := t.TempDir()
	copyClone(t, clone)
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "--all"}, {"commit", "--quiet", "--message=all"}, {"tag", tag},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = clone
		cmd.Env = append(os.Environ(),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_AUTHOR_DATE=2023-11-14T22:13:20Z",
			"GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.org", "GIT_COMMITTER_DATE=2023-11-14T22:13:20Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	return clone
}

func release(t *testing.T, clone string) (dist string) {
	t.Helper()
	dist = filepath.Join(t.TempDir(), "dist")
	if out, err := runRelease(t, clone, dist); err != nil {
		t.Fatalf("scripts/release: %v\n%s", err, out)
	}
	return dist
}

func runRelease(t *testing.T, clone, dist string) (out string, err error) {
	t.Helper()
	printed, err := exec.CommandContext(t.Context(), filepath.Join(clone, "scripts", "release"), dist).CombinedOutput()
	return string(printed), err
}

func fileNames(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func readFile(t *testing.T, folder, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// wantStatic fails the test unless the file is a program for a machine that needs
// no library and has no symbols.
func wantStatic(t *testing.T, path string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s is for %v, want %v", path, f.Machine, machine)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("%s is not static", path)
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
		t.Errorf("%s is not stripped", path)
	}
}
