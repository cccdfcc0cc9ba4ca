package socket_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/socket"
)

// at is any free port of an address.
func at(address string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(address), 0) }

func listen(t *testing.T, kind int, address string) (l *socket.Listener, dial string) {
	t.Helper()
	l, err := socket.Listen(kind, at(address), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, netip.AddrPortFrom(netip.MustParseAddr(address), l.Port()).String()
}

// What a connection brings arrives, and so does the answer.
func TestTCP(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, dial := listen(t, socket.TCP, address)
		client, err := net.Dial("tcp", dial)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Error(err)
		}
		go func() {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}()
		_, err = client.Write([]byte("hello"))
		if err == nil {
			err = client.(*net.TCPConn).CloseWrite()
		}
		if got, readErr := io.ReadAll(client); string(got) != "hello" || err != nil || readErr != nil {
			t.Errorf("%s: got %q, %v, %v", address, got, err, readErr)
		}
		client.Close()
	}
}

// A datagram is answered.
func TestUDP(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, dial := listen(t, socket.UDP, address)
		client, err := net.Dial("udp", dial)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			var b [8]byte
			if n, from, err := l.ReceiveFrom(b[:]); err == nil {
				_ = l.SendTo(b[:n], from)
			}
		}()
		var b [8]byte
		_, err = client.Write([]byte("hello"))
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, readErr := client.Read(b[:])
		if string(b[:n]) != "hello" || err != nil || readErr != nil {
			t.Errorf("%s: got %q, %v, %v", address, b[:n], err, readErr)
		}
		client.Close()
	}
}

// A wait ends when the socket is closed.
func TestClose(t *testing.T) {
	t.Parallel()
	l, _ := listen(t, socket.TCP, "127.0.0.1")
	time.AfterFunc(10*time.Millisecond, func() { _ = l.Close() })
	if conn, err := l.Accept(); err == nil {
		t.Errorf("got %v", conn)
	}
}

// A port in use is refused, and so is what prepare refuses.
func TestRefused(t *testing.T) {
	t.Parallel()
	_, dial := listen(t, socket.TCP, "127.0.0.1")
	_, err := socket.Listen(socket.TCP, netip.MustParseAddrPort(dial), nil)
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "failed to listen at "+dial+": bind: ") {
		t.Errorf("got %v", err)
	}
	_, err = socket.Listen(socket.TCP, at("127.0.0.1"), func(int) error { return unix.EPERM })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v", err)
	}
}
