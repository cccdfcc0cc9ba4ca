package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tokenSize makes tokens that no other server sends by chance, in bytes.
const tokenSize = 16

// arrives listens at the port, connects as the user, and sees that what it sends
// there comes out here. The error is an untriedError where that says nothing
// about the rules.
func (c connection) arrives(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, c.network(), net.JoinHostPort("", strconv.Itoa(int(c.port))))
	if err != nil {
		return untried(err)
	}
	defer listener.Close()
	token := make([]byte, tokenSize)
	if _, err := rand.Read(token); err != nil {
		return untried(err)
	}
	received := make(chan struct{})
	go func() {
		if receives(listener, token) {
			close(received)
		}
	}()

	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(token); err != nil {
		return err
	}
	select {
	case <-received:
		return nil
	case <-ctx.Done():
		return errors.New("another server took it")
	}
}

func (c connection) network() string {
	if c.to.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// receives accepts connections until one of them brings the token or the
// listener is closed.
func receives(listener net.Listener, token []byte) bool {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return false
		}
		if bringsToken(conn, token) {
			return true
		}
	}
}

func bringsToken(conn net.Conn, token []byte) bool {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return false
	}
	got := make([]byte, len(token))
	n, _ := conn.Read(got)
	return bytes.Equal(got[:n], token)
}

// dial connects as the user of the connection. The match "owner" looks at the
// file system ids that a socket was made with (net/netfilter/xt_owner.c), and
// those are the thread's own, so no process has to be started.
func (c connection) dial(ctx context.Context) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setFilesystemIDs(c.uid, ordinaryUID); err != nil {
		return nil, untried(err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, c.network(), c.to.String())
	if restoreErr := setFilesystemIDs(uint32(unix.Geteuid()), uint32(unix.Getegid())); restoreErr != nil {
		return nil, untried(errors.Join(err, restoreErr))
	}
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return nil, untried(err)
	case err != nil:
		return nil, err
	}
	return conn, nil
}

// setFilesystemIDs changes ids of the calling thread. The system calls report no
// error, only the id before; asking again tells (setfsuid(2)).
func setFilesystemIDs(uid, gid uint32) error {
	if err := unix.Setfsgid(int(gid)); err != nil {
		return err
	}
	if err := unix.Setfsuid(int(uid)); err != nil {
		return err
	}
	const ask = -1
	if now, _ := unix.SetfsuidRetUid(ask); uint32(now) != uid {
		return fmt.Errorf("failed to become user %d: %w", uid, unix.EPERM)
	}
	return nil
}
