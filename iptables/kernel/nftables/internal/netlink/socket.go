package netlink

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is the boundary to the kernel: what tests replace to inject faults
// that a kernel cannot be made to produce.
type Socket interface {
	// Send hands the kernel messages. It works through all of them, a batch
	// included, before Send returns (netlink_unicast_kernel in
	// net/netlink/af_netlink.c).
	Send(messages []byte) error
	// Receive returns the next messages from the kernel. They are valid until
	// the next call.
	Receive() ([]byte, error)
	Close() error
}

const (
	// receiveSize holds the largest piece in which the kernel hands out a
	// dump, 32 KiB (netlink_recvmsg in net/netlink/af_netlink.c).
	receiveSize = 64 << 10
	// receiveTimeout is how long a lost answer is waited for. Answers are
	// there when Send returns, so this is for kernels that are none.
	receiveTimeout = 10 * time.Second
	// sendOverhead is what the kernel asks of the send buffer beyond the
	// message itself (netlink_sendmsg in net/netlink/af_netlink.c).
	sendOverhead = 32
)

// KernelSocket is a socket of the network namespace that the thread which
// opened it was in.
type KernelSocket struct {
	fd  int
	buf []byte
}

// Dial opens a socket to the netfilter subsystems. Close it after use.
func Dial() (*KernelSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &KernelSocket{fd: fd, buf: make([]byte, receiveSize)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), s.Close())
	}
	if err := s.SetTimeout(receiveTimeout); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// Both only improve the answers: a kernel without them gives shorter
	// explanations and longer errors.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return s, nil
}

// SetTimeout changes how long Receive waits before it fails with EAGAIN.
func (s *KernelSocket) SetTimeout(d time.Duration) error {
	timeout := unix.NsecToTimeval(d.Nanoseconds())
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
}

// Join has Receive return what the kernel sends to a multicast group too (enum
// nfnetlink_groups, linux/netfilter/nfnetlink.h).
func (s *KernelSocket) Join(group int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
}

// Send makes the send buffer as large as the messages: they have to go in one
// piece, or they are not one transaction.
func (s *KernelSocket) Send(messages []byte) error {
	size, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if need := len(messages) + sendOverhead; need > size {
		// Only root of the initial user namespace may go beyond
		// net.core.wmem_max; others get what it allows.
		if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, need) != nil {
			_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, need)
		}
	}
	err = ignoringEINTR(func() error {
		return unix.Sendto(s.fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err == unix.EMSGSIZE {
		return &TooLargeError{Size: len(messages)}
	}
	return os.NewSyscallError("sendto", err)
}

// Receive waits for as long as [KernelSocket.SetTimeout] says.
func (s *KernelSocket) Receive() ([]byte, error) {
	n := 0
	err := ignoringEINTR(func() (err error) {
		n, _, err = unix.Recvfrom(s.fd, s.buf, unix.MSG_TRUNC)
		return err
	})
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	if n > len(s.buf) {
		return nil, fmt.Errorf("%w: %d bytes at once", errMalformed, n)
	}
	return s.buf[:n], nil
}

// Close closes the socket.
func (s *KernelSocket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// ignoringEINTR repeats a system call that a signal interrupted. Go's own
// scheduler sends such signals.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
