package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"
)

// program is meshtables for one architecture.
type program struct {
	arch  string
	bytes []byte
	info  *debug.BuildInfo
}

// build builds the program, static and without what differs between machines: paths, and
// settings of the go command in the environment.
func build(ctx context.Context, arch string) (program, error) {
	dir, err := os.MkdirTemp("", "meshtables-image-")
	if err != nil {
		return program{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "meshtables")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", path,
		"github.com/meshtables/meshtables/cmd/meshtables")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("failed to build for %s: %w\n%s", arch, err, out)
	}
	bytes, err := os.ReadFile(path)
	if err != nil {
		return program{}, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, err
	}
	return program{arch, bytes, info}, nil
}

// description is what the image says about itself. The revision is empty if the program
// was not built from a repository.
type description struct {
	version, revision string
	created           time.Time
}

// describe takes the description from what the go command wrote into the program, so that
// the image always agrees with "meshtables --version".
func describe(info *debug.BuildInfo, epoch string) (description, error) {
	d := description{version: info.Main.Version, created: time.Unix(0, 0).UTC()}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			d.revision = s.Value
		case "vcs.time":
			created, err := time.Parse(time.RFC3339Nano, s.Value)
			if err != nil {
				return description{}, fmt.Errorf("time of the commit: %w", err)
			}
			d.created = created.UTC()
		}
	}
	if epoch == "" {
		return d, nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return description{}, fmt.Errorf("SOURCE_DATE_EPOCH=%s: must be a number of seconds", epoch)
	}
	d.created = time.Unix(seconds, 0).UTC()
	return d, nil
}
