package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// reply is what an application answers: who it is and whom it sees.
type reply struct {
	Application string
	// Client is the other end of the application's connection.
	Client netip.AddrPort
	// Peer is the name in the certificate of the client's sidecar, empty if the
	// request did not come by mutual TLS.
	Peer string
}

// secret is in every reply, to be looked for on the wire.
const secret = "for the mesh only"

// serve runs the pod's application on a port.
func (p *pod) serve(t testing.TB, port uint16) (stop func()) {
	t.Helper()
	return serveApplication(t, p.Namespace, appUser, p.name, port)
}

// serveApplication runs a plain HTTP server that knows nothing of meshes, over both
// families, until stop is called or the test ends.
func serveApplication(t testing.TB, in *lab.Namespace, as lab.Socket, name string, port uint16) (stop func()) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		w.Header().Set("X-Secret", secret)
		_ = json.NewEncoder(w).Encode(reply{name, client, r.Header.Get("X-Mesh-Peer")})
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "well\n")
	})
	mux.HandleFunc("GET /echo", echo)
	return serveHTTP(t, in, as, port, mux)
}

// echo turns the connection into one that sends back what comes.
func echo(w http.ResponseWriter, _ *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	if _, err := io.WriteString(conn, switching); err != nil {
		return
	}
	_, _ = io.Copy(conn, buffered)
}

// serveHTTP runs an HTTP server. stop ends it with all its connections.
func serveHTTP(t testing.TB, in *lab.Namespace, as lab.Socket, port uint16, handler http.Handler) (stop func()) {
	t.Helper()
	server := &http.Server{Handler: handler}
	var stops []func()
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		stop, err := in.Listen(as, netip.AddrPortFrom(all, port), func(listener net.Listener) {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("the server on port %d: %v", port, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	stop = func() {
		// First the listeners, or Close might be followed by one more
		// connection.
		for _, stop := range stops {
			stop()
		}
		_ = server.Close()
	}
	t.Cleanup(stop)
	return stop
}
