// Command shim stands in for a program of Kata Containers that is beside each pod, outside of its
// network namespace: with a thread of its own inside, as its built-in monitor of virtual machines
// has one, or with a program that it starts inside. It stays until it is ended.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// The first thread, by which a process is in its network namespace, stays outside.
func init() { runtime.LockOSThread() }

func main() {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		ready <- enter(os.Args[1], os.Args[2:])
		_ = unix.Pause()
	}()
	if err := <-ready; err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = unix.Pause()
}

// enter moves the calling thread into a network namespace. If there is a program to start, it
// starts that inside, and leaves.
func enter(namespace string, program []string) error {
	file, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer file.Close()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil || len(program) == 0 {
		return err
	}
	if err := exec.Command(program[0], program[1:]...).Start(); err != nil {
		return err
	}
	return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)
}
