package netlink

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wait for an answer that does not come ends with the context, and without one after
// its time; the socket can be used on.
func TestReceiveEnds(t *testing.T) {
	t.Parallel()
	s, err := Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		start := time.Now()
		if _, err := s.Receive(ctx); !errors.Is(err, context.Canceled) || time.Since(start) > receiveTimeout/2 {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	}
	s.SetTimeout(10 * time.Millisecond)
	if _, err := s.Receive(t.Context()); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %v", err)
	}
}

// No two processes of different containers, which may have the same id, use the same port
// one after the other.
func TestDialPort(t *testing.T) {
	t.Parallel()
	ports := make(map[uint32]bool)
	const sockets = 8
	for range sockets {
		s, err := Dial(unix.NETLINK_NETFILTER)
		if err != nil {
			t.Fatal(err)
		}
		err = s.control(func(fd int) error {
			address, err := unix.Getsockname(fd)
			if err == nil {
				ports[address.(*unix.SockaddrNetlink).Pid] = true
			}
			return err
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if len(ports) != sockets {
		t.Errorf("%d sockets had the ports %v", sockets, ports)
	}
}
