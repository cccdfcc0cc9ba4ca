package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mirrors returns where to get Debian's packages: from this machine's mirrors, if it runs
// Debian.
func mirrors() (main, security string) {
	main, security = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, path := range append(files, "/etc/apt/sources.list") {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(text)) {
			word = strings.TrimSuffix(word, "/")
			switch {
			case strings.HasPrefix(word, "http") && strings.HasSuffix(word, "/debian-security"):
				security = word
			case strings.HasPrefix(word, "http") && strings.HasSuffix(word, "/debian"):
				main = word
			}
		}
	}
	return main, security
}

// fetchKernel returns the folder with the unpacked kernel of a suite: boot/ and
// lib/modules/. It fetches the kernel if needed, and installs nothing.
func fetchKernel(ctx context.Context, cache, suite string) (dir string, err error) {
	dir = filepath.Join(cache, suite)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	work, err := os.MkdirTemp(cache, suite+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	apt, err := newApt(work, suite)
	if err != nil {
		return "", err
	}
	if _, err := apt.run(ctx, "apt-get", "update", "-qq"); err != nil {
		return "", err
	}
	name, err := apt.kernelPackage(ctx)
	if err != nil {
		return "", err
	}
	fmt.Printf("fetching %s of %s\n", name, suite)
	if _, err := apt.run(ctx, "apt-get", "download", "-qq", name); err != nil {
		return "", err
	}
	unpacked := filepath.Join(work, "unpacked")
	archive, err := single(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", err
	}
	if _, err := run(ctx, work, "dpkg-deb", "--extract", archive, unpacked); err != nil {
		return "", err
	}
	return dir, os.Rename(unpacked, dir)
}

// apt runs the programs of apt for another suite than the machine's, in a folder.
type apt struct {
	work    string
	options []string
}

func newApt(work, suite string) (apt, error) {
	main, security := mirrors()
	sources := fmt.Sprintf("deb %s %s main\ndeb %s %s-security main\n", main, suite, security, suite)
	list := filepath.Join(work, "sources.list")
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return apt{}, err
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return apt{}, err
		}
	}
	return apt{work, []string{
		"-oDir::Etc::sourcelist=" + list, "-oDir::Etc::sourceparts=-",
		"-oDir::State::lists=" + filepath.Join(work, "lists"), "-oDir::Cache=" + filepath.Join(work, "cache"),
		// The folder is root's; apt's own user cannot write there.
		"-oAPT::Sandbox::User=root",
	}}, nil
}

func (a apt) run(ctx context.Context, name string, args ...string) (string, error) {
	return run(ctx, a.work, name, append(a.options, args...)...)
}

// kernelPackage returns the package of the suite's newest kernel for virtual machines.
func (a apt) kernelPackage(ctx context.Context) (string, error) {
	out, err := a.run(ctx, "apt-cache", "depends", "linux-image-cloud-amd64")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("linux-image-cloud-amd64 depends on no kernel:\n%s", out)
}

// run runs a program in a folder and returns what it prints.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
