package container

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// seccompProfile is what CRI-O takes for RuntimeDefault, and, in all that matters
// here, containerd too (contrib/seccomp): the profile of Docker and Podman.
const seccompProfile = "/usr/share/containers/seccomp.json"

// profile is its format, in which rules depend on the architecture and on the
// capabilities of the container (github.com/containers/common/pkg/seccomp).
type profile struct {
	DefaultAction   specs.LinuxSeccompAction
	DefaultErrnoRet *uint
	Syscalls        []struct {
		Names              []string
		Action             specs.LinuxSeccompAction
		Args               []specs.LinuxSeccompArg
		ErrnoRet           *uint
		Includes, Excludes struct{ Caps, Arches []string }
	}
}

// defaultSeccomp returns the profile for a container with these capabilities. A
// test without it is skipped: it would show less than it says. skopeo's package
// depends on that of the file.
func defaultSeccomp(t *testing.T, capabilities []string) *specs.LinuxSeccomp {
	t.Helper()
	text, err := os.ReadFile(seccompProfile)
	if err != nil {
		missing(t, err.Error())
	}
	var p profile
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	seccomp := &specs.LinuxSeccomp{DefaultAction: p.DefaultAction, DefaultErrnoRet: p.DefaultErrnoRet}
	has := func(c string) bool { return slices.Contains(capabilities, c) }
	lacks := func(c string) bool { return !has(c) }
	for _, s := range p.Syscalls {
		if slices.ContainsFunc(s.Includes.Caps, lacks) || slices.ContainsFunc(s.Excludes.Caps, has) ||
			len(s.Includes.Arches) > 0 && !slices.Contains(s.Includes.Arches, runtime.GOARCH) {
			continue
		}
		seccomp.Syscalls = append(seccomp.Syscalls, specs.LinuxSyscall{
			Names: s.Names, Action: s.Action, Args: s.Args, ErrnoRet: s.ErrnoRet,
		})
	}
	return seccomp
}
