package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raiseNetAdmin takes the capability NET_ADMIN into effect on every thread where
// this process has it permitted only: so has one that a user other than root
// started from the image, whose file has it like this (scripts/image/layer.go
// tells why).
//
// It reports nothing. Where there is nothing to take, what needs the capability
// fails by itself and says so; a cgo build cannot reach all threads, but the image
// is none.
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
