// Package intercept has small BPF programs that do to traffic what those of load balancers and
// of other meshes do, and places to attach them: for tests only. What is attached goes with the
// test.
package intercept

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// Pass returns a program that lets everything go its way. The type says which; for those of
// cgroups the kernel has to know where they will be attached.
func Pass(t testing.TB, name string, kind ebpf.ProgramType, at ebpf.AttachType) *ebpf.Program {
	t.Helper()
	verdict := int32(1) // as of cgroups, SK_PASS
	switch kind {
	case ebpf.SchedCLS:
		verdict = -1 // TC_ACT_UNSPEC
	case ebpf.XDP:
		verdict = 2 // XDP_PASS
	}
	return load(t, &ebpf.ProgramSpec{Name: name, Type: kind, AttachType: at, Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, verdict),
		asm.Return(),
	}})
}

// Rewrite returns a program of connect4 that gives connections to one address another, as socket
// load balancing does with the address of a service.
func Rewrite(t testing.TB, name string, from, to netip.Addr) *ebpf.Program {
	t.Helper()
	const userIP4 = 4 // in struct bpf_sock_addr
	return load(t, &ebpf.ProgramSpec{Name: name, Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, userIP4, asm.Word),
		asm.JNE.Imm32(asm.R2, inMemory(from), "pass"),
		asm.Mov.Imm32(asm.R2, inMemory(to)),
		asm.StoreMem(asm.R1, userIP4, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
		asm.Return(),
	}})
}

// inMemory returns an IPv4 address as a program reads it.
func inMemory(a netip.Addr) int32 {
	b := a.As4()
	return int32(binary.NativeEndian.Uint32(b[:]))
}

// Redirect returns a program of tc that sends the packets of IPv4 by another interface.
func Redirect(t testing.TB, name string, link int) *ebpf.Program {
	t.Helper()
	const protocol = 16 // in struct __sk_buff
	ethertype := binary.NativeEndian.Uint16([]byte{0x08, 0x00})
	return load(t, &ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, protocol, asm.Word),
		asm.Mov.Imm(asm.R0, -1), // TC_ACT_UNSPEC
		asm.JNE.Imm(asm.R2, int32(ethertype), "end"),
		asm.Mov.Imm(asm.R1, int32(link)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return().WithSymbol("end"),
	}})
}

// Steer returns a program of sk_lookup that gives connections to a port to a listener at another.
func Steer(t testing.TB, name string, port uint16, to *net.TCPListener) *ebpf.Program {
	t.Helper()
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, sockets)
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) { err = sockets.Put(uint32(0), uint64(fd)) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	const localPort = 60 // in struct bpf_sk_lookup
	return load(t, &ebpf.ProgramSpec{Name: name, Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, localPort, asm.Word),
		asm.JNE.Imm(asm.R2, int32(port), "pass"),
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, sockets.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
		asm.Return(),
	}})
}

func load(t testing.TB, spec *ebpf.ProgramSpec) *ebpf.Program {
	t.Helper()
	// Before Linux 5.11, programs count as locked memory.
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatalf("failed to load BPF program %s: %+v", spec.Name, err)
	}
	closeAfter(t, p)
	return p
}

func closeAfter(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// ID returns the number of a program on this machine.
func ID(t testing.TB, p *ebpf.Program) uint32 {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return uint32(id)
}
