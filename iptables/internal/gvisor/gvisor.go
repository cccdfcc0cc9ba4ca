// Package gvisor tells whether this process runs in gVisor. Its kernel answers system calls as
// Linux does, but of netfilter it has the legacy tables only, and those in part. It has none of the
// files by which Linux tells of tables.
package gvisor

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Here reports whether this process runs in gVisor.
func Here() bool {
	var name unix.Utsname
	return unix.Uname(&name) == nil && is(unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Version[:]))
}

// version is that of its kernel: LinuxVersion in pkg/sentry/kernel/version, and before 2026 in
// pkg/sentry/syscalls/linux.
const version = "#1 SMP Sun Jan 10 15:06:54 PST 2016"

// is reports whether a release and a version of uname(2) are gVisor's.
func is(release, of string) bool {
	return of == version || strings.HasSuffix(release, "-gvisor")
}
