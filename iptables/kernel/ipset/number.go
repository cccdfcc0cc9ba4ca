package ipset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// From linux/netfilter/ipset/ip_set.h.
const (
	socketOption  = 83 // SO_IP_SET
	getByName     = 6  // IP_SET_OP_GET_BYNAME
	getByIndex    = 7  // IP_SET_OP_GET_BYINDEX
	maxName       = 32 // IPSET_MAXNAMELEN
	invalidNumber = 0xffff
)

// request is struct ip_set_req_get_set: the operation, the protocol, and a name or a number.
type request [8 + maxName]byte

// ask asks for a set on a thread of the namespace. It takes CAP_NET_ADMIN there
// (ip_set_sockfn_get in net/netfilter/ipset/ip_set_core.c). Any socket of IPv4 does; a raw one
// would take CAP_NET_RAW too.
func (r *request) ask(ns *namespace.Namespace, operation uint32) error {
	binary.NativeEndian.PutUint32(r[0:], operation)
	binary.NativeEndian.PutUint32(r[4:], protocol)
	return ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		size := uint32(len(r))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_IP, socketOption,
			uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// IndexOf returns the number by which rules of iptables' form know a set.
func IndexOf(ns *namespace.Namespace, name string) (uint16, error) {
	var r request
	copy(r[8:8+maxName-1], name)
	if err := r.ask(ns, getByName); err != nil {
		return 0, fmt.Errorf("failed to find the set %s: %w", name, err)
	}
	index := binary.NativeEndian.Uint16(r[8:])
	if index == invalidNumber {
		return 0, fmt.Errorf("failed to find the set %s: there is none", name)
	}
	return index, nil
}

// NameOf undoes IndexOf. It is not ok if nobody may know.
func NameOf(ns *namespace.Namespace, index uint16) (name string, ok bool) {
	var r request
	binary.NativeEndian.PutUint16(r[8:], index)
	if r.ask(ns, getByIndex) != nil {
		return "", false
	}
	text, _, _ := bytes.Cut(r[8:], []byte{0})
	return string(text), len(text) > 0
}
