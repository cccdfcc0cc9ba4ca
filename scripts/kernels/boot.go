package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/meshtables/meshtables/tests/kernels"
)

// tests are what runs in each kernel: the verbs and the forms, and real connections
// in each mode, with source ports that clash, and with BPF programs beside the rules.
const tests = "^(TestKernel|TestPortClashSetting|TestTraffic(Inbound|Outbound|ToItself|TPROXY|DNS|Linkerd|PortClash)|Test(Rewritten|Redirected|Steered)(Before|After)Rules)$"

// The words around the tests' output on the console.
const (
	begin = "== tests begin"
	end   = "== tests end with status "
)

// initScript is the first process of the virtual machine.
const initScript = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
busybox modprobe tun
busybox ip link set lo up
export MESHTABLES=/meshtables CI=1
export ` + kernels.Variable + `="$(busybox cat /row)"
echo "` + begin + `"
/tests.test -test.v -test.timeout 60m -test.run '` + tests + `'
echo "` + end + `$?"
busybox poweroff -f
`

// boot runs a row's tests in its kernel and returns what the console showed.
func boot(ctx context.Context, k kernels.Kernel, kernel, image string) (console string, err error) {
	bzImage, err := single(filepath.Join(kernel, "boot/vmlinuz-*"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-machine", "accel=tcg", "-cpu", "max", "-m", "1536", "-smp", "1", "-nodefaults", "-nographic", "-no-reboot",
		"-serial", "stdio", "-kernel", bzImage, "-initrd", image,
		"-append", "console=ttyS0 quiet panic=-1 rdinit=/init "+k.CommandLine)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), err
}

// judge returns an error unless all tests passed.
func judge(console string) (summary string, err error) {
	_, output, begun := strings.Cut(console, begin+"\n")
	output, status, ended := strings.Cut(output, end)
	status, _, _ = strings.Cut(status, "\n")
	passed := strings.Count(output, "--- PASS: ")
	switch {
	case !begun || !ended:
		return "", fmt.Errorf("the virtual machine did not reach the end:\n%s", console)
	case status != "0" || passed == 0:
		return "", fmt.Errorf("tests ended with status %s:\n%s", status, output)
	}
	return fmt.Sprintf("%d passed", passed), nil
}
