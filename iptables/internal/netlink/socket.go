package netlink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is the boundary to the kernel. Tests replace it to inject faults that no kernel
// can be made to produce.
type Socket interface {
	// Send sends messages to the kernel, which works through all of them, a batch
	// included, before Send returns (netlink_unicast_kernel in net/netlink/af_netlink.c).
	Send(messages []byte) error
	// Receive returns the next messages from the kernel. They are valid until the next
	// call. The wait ends with the context.
	Receive(ctx context.Context) ([]byte, error)
	Close() error
}

const (
	// receiveSize holds the largest piece of a dump that the kernel sends, 32 KiB
	// (netlink_recvmsg in net/netlink/af_netlink.c).
	receiveSize = 64 << 10
	// receiveTimeout is how long to wait for a lost answer. A real kernel has answered
	// when Send returns, so this is for other implementations.
	receiveTimeout = 10 * time.Second
	// sendOverhead is the space in the send buffer that the kernel needs beyond the
	// message (netlink_sendmsg in net/netlink/af_netlink.c).
	sendOverhead = 32
)

// KernelSocket is a socket in the network namespace of the thread that opened it.
type KernelSocket struct {
	file    *os.File // not blocking, so that waits can be ended
	raw     syscall.RawConn
	timeout time.Duration
	buf     []byte
}

// Dial opens a socket to a family of subsystems, such as NETLINK_NETFILTER (netlink(7)).
// Close it after use.
func Dial(family int) (*KernelSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &KernelSocket{file: os.NewFile(uintptr(fd), "netlink"), timeout: receiveTimeout, buf: make([]byte, receiveSize)}
	if err := bind(fd); err != nil {
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

// bind gives a socket a random port id. The kernel knows the owner of a table or a log
// group by its port id, and takes both away after it has freed the id. By default the id
// is that of the process, which is 1 in every container, so the next copy could have it by
// then and lose what it just made (netlink_release in net/netlink/af_netlink.c).
func bind(fd int) error {
	const attempts = 10
	var err error
	for range attempts {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: max(1, rand.Uint32())})
		if err != unix.EADDRINUSE {
			break
		}
	}
	return err
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

// Join makes Receive also return the messages to a multicast group (enum
// nfnetlink_groups, linux/netfilter/nfnetlink.h).
func (s *KernelSocket) Join(group int) error {
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
	})
}

// Leave undoes Join. Receive still returns what has already arrived.
func (s *KernelSocket) Leave(group int) error {
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, group))
	})
}

// SetBuffer changes how many bytes the kernel keeps until Receive reads them, as far as the
// kernel permits. Only root of the initial user namespace may exceed net.core.rmem_max.
func (s *KernelSocket) SetBuffer(size int) {
	_ = s.control(func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
		return nil
	})
}

// Send makes the send buffer as large as the messages: in pieces they would not be one
// transaction.
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
	// The kernel works through the messages before it returns, and never waits for a
	// reader: this blocks no longer than a blocking socket would.
	err = ignoringEINTR(func() error {
		return unix.Sendto(fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err == unix.EMSGSIZE {
		return &TooLargeError{Size: len(messages)}
	}
	return os.NewSyscallError("sendto", err)
}

// Receive returns the next messages. It waits for them for the time of
// [KernelSocket.SetTimeout], or until the context ends.
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

// wait waits until there is something to receive.
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
