package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// resolvConf is where programs read their name servers, resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// views are the mount namespaces of the programs that run in a network namespace, one for
// each list of name servers. Making one is the slowest part of starting a program, and
// the kernel takes long to remove it.
type views struct {
	mu   sync.Mutex
	made map[string]*os.File
}

// enter moves the calling thread, which must not be used again, to the mount namespace in
// which /etc/resolv.conf lists the name servers.
func (v *views) enter(nameServers []netip.Addr) error {
	// A thread can change its mount namespace only if it shares its working
	// directory with no other (setns(2)).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("failed to get a working directory of the thread's own: %w", err)
	}
	text := resolvConfText(nameServers)
	v.mu.Lock()
	defer v.mu.Unlock()
	if file := v.made[text]; file != nil {
		return enterView(file)
	}
	if err := mountResolvConf(text); err != nil {
		return err
	}
	file, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return err
	}
	if v.made == nil {
		v.made = make(map[string]*os.File)
	}
	v.made[text] = file
	return nil
}

// enterView keeps the working directory, which setns(2) makes the root.
func enterView(file *os.File) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("failed to enter a mount namespace: %w", err)
	}
	return unix.Chdir(dir)
}

// close gives up the mount namespaces. Each lasts as long as a program is in it.
func (v *views) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for text, file := range v.made {
		errs = append(errs, file.Close())
		delete(v.made, text)
	}
	return errors.Join(errs...)
}

func resolvConfText(nameServers []netip.Addr) string {
	var text strings.Builder
	for _, a := range nameServers {
		fmt.Fprintf(&text, "nameserver %s\n", a)
	}
	return text.String()
}

// mountResolvConf gives the calling thread a mount namespace of its own, with that file.
// Nothing changes outside it, and the mount keeps the file after its name is gone.
func mountResolvConf(text string) error {
	file, err := os.CreateTemp("", "resolv.conf-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("failed to make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("failed to make mounts private: %w", err)
	}
	if err := unix.Mount(file.Name(), resolvConf, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("failed to mount %s: %w", resolvConf, err)
	}
	return nil
}
