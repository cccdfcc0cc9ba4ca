package netlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
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
	// the next call. A wait for them ends with the context.
	Receive(ctx context.Context) ([]byte, error)
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

// KernelSocket is a socket of the network namespace that the thread which opened it was
// in.
type KernelSocket struct {
	file    *os.File // not blocking, so that waits for it can be ended
	raw     syscall.RawConn
	timeout time.Duration
	buf     []byte
}

// Dial opens a socket to the netfilter subsystems. Close it after use.
func Dial() (*KernelSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &KernelSocket{file: os.NewFile(uintptr(fd), "netlink"), timeout: receiveTimeout, buf: make([]byte, receiveSize)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), s.Close())
	}
	// Both only improve the answers: a kernel without them gives shorter
	// explanations and longer errors.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// SetTimeout changes how long Receive waits before it fails with EAGAIN.
func (s *KernelSocket) SetTimeout(d time.Duration) { s.timeout = d }

// control calls f with the socket's number.
func (s *KernelSocket) control(f func(fd int) error) error {
	var err error
	if closed := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

// Join has Receive return what the kernel sends to a multicast group too (enum
// nfnetlink_groups, linux/netfilter/nfnetlink.h).
func (s *KernelSocket) Join(group int) error {
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
	})
}

// Leave undoes Join. What has come is still received.
func (s *KernelSocket) Leave(group int) error {
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, group))
	})
}

// SetBuffer changes how many bytes the kernel keeps until they are received, if it lets
// us: of more than net.core.rmem_max, only root of the initial user namespace.
func (s *KernelSocket) SetBuffer(size int) {
	_ = s.control(func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
		return nil
	})
}

// Send makes the send buffer as large as the messages: they have to go in one
// piece, or they are not one transaction.
func (s *KernelSocket) Send(messages []byte) error {
	return s.control(func(fd int) error { return send(fd, messages) })
}

func send(fd int, messages []byte) error {
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if need := len(messages) + sendOverhead; need > size {
		// Only root of the initial user namespace may go beyond
		// net.core.wmem_max; others get what it allows.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, need) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, need)
		}
	}
	// The kernel works through it before it returns, and never has to wait for a
	// reader: this does not block for longer than it did on a blocking socket.
	err = ignoringEINTR(func() error {
		return unix.Sendto(fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err == unix.EMSGSIZE {
		return &TooLargeError{Size: len(messages)}
	}
	return os.NewSyscallError("sendto", err)
}

// Receive returns what is there, and waits for it where nothing is: for as long as
// [KernelSocket.SetTimeout] says, or until the context ends.
func (s *KernelSocket) Receive(ctx context.Context) ([]byte, error) {
	n := 0
	receive := func(fd uintptr) error {
		return ignoringEINTR(func() (err error) {
			n, _, err = unix.Recvfrom(int(fd), s.buf, unix.MSG_TRUNC)
			return err
		})
	}
	err := s.control(func(fd int) error { return receive(uintptr(fd)) })
	if err == unix.EAGAIN {
		err = s.wait(ctx, receive)
	}
	if _, isErrno := err.(unix.Errno); isErrno {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	if err != nil {
		return nil, err
	}
	if n > len(s.buf) {
		return nil, fmt.Errorf("%w: %d bytes at once", errMalformed, n)
	}
	return s.buf[:n], nil
}

// wait receives when something comes.
func (s *KernelSocket) wait(ctx context.Context, receive func(fd uintptr) error) error {
	if err := s.file.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = s.file.SetReadDeadline(time.Unix(0, 0))
	})
	defer func() {
		if !stop() {
			// It must not end the next wait.
			<-ended
		}
	}()
	var err error
	waitErr := s.raw.Read(func(fd uintptr) (done bool) {
		err = receive(fd)
		return err != unix.EAGAIN
	})
	switch {
	case waitErr == nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(waitErr, os.ErrDeadlineExceeded):
		return unix.EAGAIN
	}
	return waitErr
}

// Close closes the socket.
func (s *KernelSocket) Close() error { return s.file.Close() }

// ignoringEINTR repeats a system call that a signal interrupted. Go's own
// scheduler sends such signals.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
