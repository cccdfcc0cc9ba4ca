package ready

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Whoever asks is told what is missing, by IPv4 too at the address of all.
func TestAnswer(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	for at, from := range map[string][]string{
		"127.0.0.1:15092": {"127.0.0.1:15092"},
		"[::1]:15092":     {"[::1]:15092"},
		"0.0.0.0:15092":   {"127.0.0.1:15092"},
		"[::]:15092":      {"127.0.0.1:15092", "[::1]:15092"},
	} {
		end, err := Answer(netip.MustParseAddrPort(at), func() error { return errors.New("not in place") })
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range from {
			if got := ask(t, address); !strings.HasPrefix(got, "HTTP/1.1 503 Service Unavailable\r\n") || !strings.HasSuffix(got, "\r\n\r\nnot in place\n") {
				t.Errorf("%s, %s: got %q", at, address, got)
			}
		}
		end()
	}
}

// ask sends a request from the test's own thread, which alone is in its namespace.
func ask(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}
