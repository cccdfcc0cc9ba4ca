// Package bpf asks the kernel which BPF programs are attached where (bpf(2)). The structs are
// those of include/uapi/linux/bpf.h, as far as they are needed.
//
// github.com/cilium/ebpf can do the same. It loads programs too, and links a megabyte.
package bpf

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AttachType is where a program is attached (enum bpf_attach_type).
type AttachType uint32

// Attachments are the programs that are attached somewhere.
type Attachments struct {
	// Programs are their ids, in the order in which they run.
	Programs []uint32
	// Flags are the BPF_F_ALLOW_* that they were attached with; 0 for effective ones.
	Flags uint32
}

// query is the part of union bpf_attr for BPF_PROG_QUERY. Newer kernels write to its end
// whatever its size is said to be (bpf_mprog_query in kernel/bpf/mprog.c), older ones take it
// because it is zero there.
type query struct {
	target       uint32
	attachType   AttachType
	queryFlags   uint32
	attachFlags  uint32
	programs     uint64 // a pointer
	count        uint32
	_            uint32
	programFlags uint64
	links        uint64
	linkFlags    uint64
	revision     uint64
}

// Attached returns the programs that are attached to a target: the file descriptor of a cgroup
// or of a network namespace or, for TCX, the index of an interface of the calling thread's
// network namespace. The error is EINVAL if the kernel does not know the type, and EPERM without
// CAP_NET_ADMIN outside of user namespaces.
func Attached(target uint32, at AttachType) (Attachments, error) { return ask(target, at, 0) }

// Effective returns the programs that run for a cgroup: its own, and those of the cgroups above
// that it has inherited.
func Effective(cgroup uint32, at AttachType) (Attachments, error) {
	return ask(cgroup, at, unix.BPF_F_QUERY_EFFECTIVE)
}

// usualCount is more than most places have, maxCount more than any can have.
const usualCount, maxCount = 64, 1 << 16

func ask(target uint32, at AttachType, flags uint32) (Attachments, error) {
	for room := uint32(usualCount); ; {
		ids := make([]uint32, room)
		q := query{target: target, attachType: at, queryFlags: flags, count: room}
		err := withPointer(&q.programs, unsafe.Pointer(&ids[0]), func() error {
			_, err := call(unix.BPF_PROG_QUERY, unsafe.Pointer(&q), unsafe.Sizeof(q))
			return err
		})
		if errors.Is(err, unix.ENOSPC) && q.count > room && q.count <= maxCount {
			// It says how many there are; by the next time there may be more.
			room = 2 * q.count
			continue
		}
		if err != nil {
			return Attachments{}, err
		}
		return Attachments{slices.Clip(ids[:min(q.count, room)]), q.attachFlags}, nil
	}
}

// infoSize is as much of struct bpf_prog_info as all kernels since Linux 4.15 have. Its end is
// the name, with its NUL.
const infoSize, nameOffset = 80, 64

// Name returns the name of a program, of which the kernel keeps 15 bytes; "" if it has none. The
// error is ENOENT if there is no such program, and EPERM without CAP_SYS_ADMIN outside of user
// namespaces.
func Name(program uint32) (string, error) {
	open := struct{ id, next, flags uint32 }{id: program}
	fd, err := call(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&open), unsafe.Sizeof(open))
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	// The kernel writes numbers of 64 bits.
	info := new([infoSize / 8]uint64)
	get := struct {
		fd, size uint32
		info     uint64 // a pointer
	}{fd: uint32(fd), size: infoSize}
	err = withPointer(&get.info, unsafe.Pointer(info), func() error {
		_, err := call(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&get), unsafe.Sizeof(get))
		return err
	})
	if err != nil {
		return "", err
	}
	var name []byte
	for _, word := range info[nameOffset/8:] {
		name = binary.NativeEndian.AppendUint64(name, word)
	}
	return unix.ByteSliceToString(name), nil
}

// withPointer puts a pointer into a field of 64 bits, where the kernel expects it on every
// machine, and calls f. What it points to stays in its place until then.
func withPointer(field *uint64, to unsafe.Pointer, f func() error) error {
	var pinned runtime.Pinner
	pinned.Pin(to)
	defer pinned.Unpin()
	*field = uint64(uintptr(to))
	return f()
}

func call(command int, attributes unsafe.Pointer, size uintptr) (int, error) {
	result, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attributes), size)
	if errno != 0 {
		return 0, errno
	}
	return int(result), nil
}
