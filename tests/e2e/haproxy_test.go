package e2e

import (
	"bytes"
	"context"
	_ "embed"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

//go:embed testdata/haproxy.cfg
var haproxyConfig string

// settings are what testdata/haproxy.cfg is filled with.
type settings struct {
	// CA and Certificate are files in PEM; the second holds its key too.
	CA, Certificate string
	// UID and GID are who it becomes.
	UID, GID                  uint32
	InboundPort, OutboundPort uint16
	// Source is where it connects to the application from.
	Source lab.Addr
	// PodNet4 is where destinations have a sidecar.
	PodNet4 netip.Prefix
	// Application6 is where inbound IPv6 connections go.
	Application6 netip.AddrPort
	Services     []service
}

// service is a name, the address it is called by and the pod that answers.
type service struct {
	Name         string
	Address, Pod netip.AddrPort
}

// sidecar is a running HAProxy.
type sidecar struct {
	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what HAProxy logs.
func (s *sidecar) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// logged returns what HAProxy has logged so far.
func (s *sidecar) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// runHAProxy ends HAProxy when its own standard input ends, and so also when the
// process of the tests is gone, however that came about: nobody could end it then.
// It fails if HAProxy has ended before.
const runHAProxy = `haproxy -db -f "$0" & read -r _; kill -KILL $! && wait`

// sidecarStart is how long a sidecar may take to listen. It takes a fraction of a
// second, unless the machine is busy with something else.
const sidecarStart = time.Minute

// startSidecar runs HAProxy in a pod until the test ends. It returns as soon as
// clients can connect.
func (m *mesh) startSidecar(t testing.TB, p *pod, ca *authority) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, file, m.sidecarConfig(t, p, ca))
	p.sidecar = &sidecar{}
	alive, end := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		// The context of a test ends before its cleanup; this one is ended by
		// end, in it.
		ended <- p.Run(context.WithoutCancel(t.Context()), lab.Command{
			Path: "sh", Args: []string{"-c", runHAProxy, file},
			Stdin: alive, Stdout: p.sidecar, Stderr: p.sidecar,
		})
	}()
	t.Cleanup(func() {
		end.Close()
		if err := <-ended; err != nil {
			t.Errorf("the %s's sidecar: %v\n%s", p.name, err, p.sidecar.logged())
		}
	})
	for _, port := range []uint16{p.proxy.outbound, p.proxy.inbound} {
		for _, f := range lab.Families() {
			m.waitForListener(t, p, lab.Loopback.Port(f, port))
		}
	}
}

// sidecarConfig returns what HAProxy reads.
func (m *mesh) sidecarConfig(t testing.TB, p *pod, ca *authority) []byte {
	t.Helper()
	with := settings{
		CA:           ca.file(),
		Certificate:  ca.issue(t, p.name, int64(p.addr.V4.As4()[3])),
		UID:          p.proxy.user.As.UID,
		GID:          p.proxy.user.As.GID,
		InboundPort:  p.proxy.inbound,
		OutboundPort: p.proxy.outbound,
		Source:       p.source(),
		PodNet4:      lab.NodePodNet.V4,
		Application6: p.addr.Port(lab.IPv6, webPort),
	}
	for _, each := range m.pods() {
		with.Services = append(with.Services, service{each.name, each.service, each.addr.Port(lab.IPv4, webPort)})
	}
	var config bytes.Buffer
	if err := template.Must(template.New("haproxy.cfg").Parse(haproxyConfig)).Execute(&config, with); err != nil {
		t.Fatal(err)
	}
	return config.Bytes()
}

// waitForListener waits until a sidecar accepts connections at an address.
func (m *mesh) waitForListener(t testing.TB, p *pod, at netip.AddrPort) {
	t.Helper()
	deadline := time.Now().Add(sidecarStart)
	for {
		conn, err := p.Dial(t.Context(), "tcp", lab.Client{}, at)
		if err == nil {
			conn.Close()
			return
		}
		// With an alert HAProxy gives up.
		if time.Now().After(deadline) || strings.Contains(p.sidecar.logged(), "[ALERT]") {
			m.fatalf(t, []question{p.outAs(lab.Identity{}, at)}, "the %s's sidecar does not listen at %s: %v", p.name, at, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
