package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raiseNetAdmin makes the capability NET_ADMIN effective on every thread, if this
// process has it in the permitted set only. That is so if a user other than root starts
// the image's file (scripts/image/layer.go says why).
//
// It reports no error. If the process does not have the capability, what needs it fails
// and says so. A cgo build cannot reach all threads, but the image is not one.
func raiseNetAdmin() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return
	}
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	if data[0].Permitted&netAdmin == 0 || data[0].Effective&netAdmin != 0 {
		return
	}
	data[0].Effective |= netAdmin
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
}
