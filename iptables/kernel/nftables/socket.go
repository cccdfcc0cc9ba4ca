package nftables

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// socket is the boundary to the kernel: what tests replace to inject faults
// that a kernel cannot be made to produce.
type socket interface {
	// send hands the kernel messages. It works through all of them, a batch
	// included, before send returns (netlink_unicast_kernel in
	// net/netlink/af_netlink.c).
	send(messages []byte) error
	// receive returns the next messages from the kernel. They are valid until
	// the next call.
	receive() ([]byte, error)
	close() error
}

const (
	// receiveSize holds the largest piece in which the kernel hands out a
	// dump, 32 KiB (netlink_recvmsg in net/netlink/af_netlink.c).
	receiveSize = 64 << 10
	// receiveTimeout is how long a lost answer is waited for. Answers are
	// there when send returns, so this is for kernels that are none.
	receiveTimeout = 10 // seconds
	// sendOverhead is what the kernel asks of the send buffer beyond the
	// message itself (netlink_sendmsg in net/netlink/af_netlink.c).
	sendOverhead = 32
)

// netlinkSocket is a socket of the network namespace that the thread which
// opened it was in.
type netlinkSocket struct {
	fd  int
	buf []byte
}

func dialNetlink() (socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &netlinkSocket{fd: fd, buf: make([]byte, receiveSize)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), s.close())
	}
	timeout := unix.Timeval{Sec: receiveTimeout}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt", err), s.close())
	}
	// Both only improve the answers: a kernel without them gives shorter
	// explanations and longer errors.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return s, nil
}

// send makes the send buffer as large as the messages: they have to go in one
// piece, or they are not one transaction.
func (s *netlinkSocket) send(messages []byte) error {
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
		return &tooLargeError{size: len(messages)}
	}
	return os.NewSyscallError("sendto", err)
}

func (s *netlinkSocket) receive() ([]byte, error) {
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

func (s *netlinkSocket) close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// ignoringEINTR repeats a system call that a signal interrupted. Go's own
// scheduler sends such signals.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
