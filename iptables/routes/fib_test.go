package routes

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// A program in the kernel that forwards by its own lookup, as Cilium's do, finds no way to an
// address of this machine, and one to an address with a direct route: that has no neighbour, so
// the program leaves the packet to the kernel's own routing.
func TestDirectIsFound(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	run := func(args ...string) { t.Helper(); nstest.Run(t, args[0], args[1:]...) }
	run("ip", "link", "set", "lo", "up")
	run("ip", "link", "add", "pod0", "index", "77", "type", "veth", "peer", "name", "pod1")
	run("ip", "link", "set", "pod0", "up")
	run("ip", "link", "set", "pod1", "up")
	run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	want := iptables.Routing{Direct: []netip.Addr{netip.MustParseAddr("169.254.7.127"), netip.MustParseAddr("fd16:9254:7127:1337:ffff:ffff:ffff:ffff")}}
	expect := func(when string, code int) {
		t.Helper()
		for _, a := range want.Direct {
			// An IPv6 address is this machine's a moment after it is there (addrconf_dad_work in
			// net/ipv6/addrconf.c).
			got := -1
			for end := time.Now().Add(5 * time.Second); got != code && time.Now().Before(end); {
				got = lookupInKernel(t, a, 77)
			}
			if got != code {
				t.Errorf("%s: %s: got %d, want %d", when, a, got, code)
			}
		}
	}
	// BPF_FIB_LKUP_RET_* of linux/bpf.h.
	const notForwarded, noNeighbour = 4, 7
	expect("without", notForwarded)
	for _, a := range want.Direct {
		run("ip", "addr", "add", fmt.Sprintf("%s/%d", a, a.BitLen()), "dev", "lo")
	}
	expect("with an address of this machine", notForwarded)
	for _, a := range want.Direct {
		run("ip", "addr", "del", fmt.Sprintf("%s/%d", a, a.BitLen()), "dev", "lo")
	}
	change := func(want iptables.Routing, changes int) {
		t.Helper()
		there, err := Read(t.Context(), ns, iptables.Ownership{})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := there.Diff(want)
		if err != nil || len(cs) != changes {
			t.Fatalf("got %v, %v", cs, err)
		}
		if err := cs.Apply(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	change(want, 2)
	expect("with the route", noNeighbour)
	change(want, 0)
	change(iptables.Routing{}, 2)
	expect("afterwards", notForwarded)
}

// lookupInKernel returns what bpf_fib_lookup says of a packet to an address that came in by an
// interface (bpf-helpers(7)). It runs a program of a few instructions for that.
func lookupInKernel(t *testing.T, to netip.Addr, link int32) int {
	t.Helper()
	var program []byte
	add := func(op, registers byte, offset int16, value int32) {
		program = append(program, op, registers)
		program = binary.NativeEndian.AppendUint16(program, uint16(offset))
		program = binary.NativeEndian.AppendUint32(program, uint32(value))
	}
	// struct bpf_fib_lookup on the stack, below the frame pointer r10.
	const params, size = -64, 64
	const r2, r3, r4, r10 = 2, 3, 4, 10
	for at := int16(0); at < size; at += 8 {
		add(unix.BPF_ST|unix.BPF_MEM|0x18, r10, params+at, 0)
	}
	family := int32(unix.AF_INET)
	if to.Is6() {
		family = unix.AF_INET6
	}
	add(unix.BPF_ST|unix.BPF_MEM|unix.BPF_B, r10, params, family)
	add(unix.BPF_ST|unix.BPF_MEM|unix.BPF_W, r10, params+8, link)
	for at, bytes := int16(32), to.AsSlice(); len(bytes) > 0; at, bytes = at+4, bytes[4:] {
		add(unix.BPF_ST|unix.BPF_MEM|unix.BPF_W, r10, params+at, int32(binary.NativeEndian.Uint32(bytes)))
	}
	const alu64, move = 0x07, 0xb0
	add(alu64|move|unix.BPF_X, r10<<4|r2, 0, 0)
	add(alu64|unix.BPF_ADD|unix.BPF_K, r2, 0, params)
	add(alu64|move|unix.BPF_K, r3, 0, size)
	add(alu64|move|unix.BPF_K, r4, 0, 0)
	const call, exit, fibLookup = 0x80, 0x90, 69
	add(unix.BPF_JMP|call, 0, 0, fibLookup)
	add(unix.BPF_JMP|exit, 0, 0, 0)

	license, messages := []byte("GPL\x00"), make([]byte, 64<<10)
	load := struct {
		kind, count           uint32
		instructions, license uint64
		level, size           uint32
		messages              uint64
	}{
		kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(program) / 8), instructions: address(program), license: address(license),
		level: 1, size: uint32(len(messages)), messages: address(messages),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	switch {
	case errno == unix.ENOSYS || errno == unix.EPERM:
		nstest.Missing(t, "this machine lets nobody load programs into the kernel: %v", errno)
	case errno != 0:
		t.Fatalf("failed to load the program: %v\n%s", errno, messages)
	}
	defer unix.Close(int(fd))
	packet := make([]byte, 64)
	packet[12] = 8 // ETH_P_IP
	test := struct {
		fd, result, in, out uint32
		packet, after       uint64
		repeat, took        uint32
	}{fd: uint32(fd), in: uint32(len(packet)), packet: address(packet)}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&test)), unsafe.Sizeof(test)); errno != 0 {
		t.Fatalf("failed to run the program: %v", errno)
	}
	runtime.KeepAlive([][]byte{program, license, messages, packet})
	return int(int32(test.result))
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
