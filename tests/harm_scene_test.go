package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// scene is a pod with a proxy, and servers wherever a connection may arrive.
type scene struct {
	pod
	// hangUp closes the proxy's sockets.
	hangUp []func()
}

const (
	appPort = 8080
	// strayPort is one that strangers send connections to.
	strayPort = 9999
)

// landing is where a connection arrived: a namespace and a port there. The zero value is
// nowhere.
type landing struct {
	at   string
	port uint16
}

func (l landing) String() string {
	if l == (landing{}) {
		return "nowhere"
	}
	return fmt.Sprintf("port %d of %s", l.port, l.at)
}

func newScene(t *testing.T, backend string) *scene {
	t.Helper()
	s := &scene{pod: newPod(t, backend)}
	s.fixNeighbours(t)
	for _, f := range lab.Families() {
		for _, port := range []uint16{appPort, 8443, strayPort} {
			s.listen(t, "pod", lab.Socket{As: app().as}, anyAddr().Port(f, port))
		}
		s.answer(t, "pod", lab.Socket{}, lab.Loopback.Port(f, strayPort))
		for _, port := range []uint16{53, 80, 443, 8443, strayPort} {
			s.listen(t, "peer", lab.Socket{}, anyAddr().Port(f, port))
		}
		for _, server := range []lab.Addr{lab.Resolver, lab.Outside, lab.OtherOutside} {
			s.answer(t, "peer", lab.Socket{}, server.Port(f, 53))
		}
	}
	return s
}

// fixNeighbours writes the addresses of the link down, so that a rule that drops what asks
// for them does no harm by chance.
func (s *scene) fixNeighbours(t *testing.T) {
	t.Helper()
	mac := func(n *lab.Namespace) string {
		var out strings.Builder
		if err := n.Run(t.Context(), lab.Command{Path: "ip", Args: []string{"-o", "link", "show", "eth0"}, Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(out.String(), "link/ether ")
		return strings.Fields(after)[0]
	}
	for _, side := range []struct {
		at, other *lab.Namespace
		addr      lab.Addr
	}{{s.Pod, s.Peer, lab.PeerAddr}, {s.Peer, s.Pod, lab.PodAddr}} {
		to := mac(side.other)
		for _, f := range lab.Families() {
			args := []string{"neigh", "replace", side.addr.In(f).String(), "lladdr", to, "nud", "permanent", "dev", "eth0"}
			if err := side.at.Run(t.Context(), lab.Command{Path: "ip", Args: args}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *scene) namespace(name string) *lab.Namespace {
	if name == "pod" {
		return s.Pod
	}
	return s.Peer
}

// openProxy makes the proxy's sockets, closeProxy closes them.
func (s *scene) openProxy(t *testing.T, transparent bool) {
	t.Helper()
	how := lab.Socket{As: proxy().as}
	in := how
	if transparent {
		in = lab.Socket{As: transparentProxy().as, Transparent: true}
	}
	for _, f := range lab.Families() {
		s.hangUp = append(s.hangUp,
			s.listen(t, "pod", how, anyAddr().Port(f, outboundPort)),
			s.listen(t, "pod", in, anyAddr().Port(f, inboundPort)),
			s.listen(t, "pod", how, lab.Loopback.Port(f, dnsPort)),
			s.answer(t, "pod", how, lab.Loopback.Port(f, dnsPort)),
		)
	}
}

func (s *scene) closeProxy() {
	for _, f := range s.hangUp {
		f()
	}
	s.hangUp = nil
}

// listen makes a server that says where it is, and then says everything again.
func (s *scene) listen(t *testing.T, at string, how lab.Socket, addr netip.AddrPort) (stop func()) {
	t.Helper()
	stop, err := s.namespace(at).Listen(how, addr, func(l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(lab.DefaultTimeout))
				fmt.Fprintf(conn, "%s %d\n", at, addr.Port())
				_, _ = io.Copy(conn, conn)
			}()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

// answer makes a server that answers each datagram with where it is.
func (s *scene) answer(t *testing.T, at string, how lab.Socket, addr netip.AddrPort) (stop func()) {
	t.Helper()
	conn, err := s.namespace(at).OpenUDP(how, addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %d\n", at, addr.Port()), from)
		}
	}()
	stop = sync.OnceFunc(func() { conn.Close(); <-done })
	t.Cleanup(stop)
	return stop
}

// inTo returns a connection to a port of the pod.
func inTo(port uint16) func(lab.Family) attempt {
	return func(f lab.Family) attempt {
		return attempt{in: true, client: "peer", to: lab.PodAddr.Port(f, port), source: lab.PeerAddr.In(f)}
	}
}

// inFrom is inTo(appPort) from another address.
func inFrom(source lab.Addr) func(lab.Family) attempt {
	return func(f lab.Family) attempt {
		a := inTo(appPort)(f)
		a.source = source.In(f)
		return a
	}
}

// outTo returns a connection of an application.
func outTo(to lab.Addr, port uint16) func(lab.Family) attempt {
	return func(f lab.Family) attempt { return attempt{client: "pod", as: app().as, to: to.Port(f, port)} }
}

// outBy is outTo(lab.Outside, 80) by a user and group.
func outBy(uid, gid uint32) func(lab.Family) attempt {
	return func(f lab.Family) attempt {
		a := outTo(lab.Outside, 80)(f)
		a.as = lab.Identity{UID: uid, GID: gid}
		return a
	}
}

// wanted is where a connection has to arrive.
func (a attempt) wanted() landing {
	switch {
	case a.in:
		return landing{"pod", inboundPort}
	case a.as == proxy().as:
		return landing{"peer", a.to.Port()}
	case a.to.Port() == 53:
		return landing{"pod", dnsPort}
	}
	return landing{"pod", outboundPort}
}

func (a attempt) String() string {
	protocol := "tcp"
	if a.udp {
		protocol = "udp"
	}
	if a.in {
		return fmt.Sprintf("%s from %s to %s", protocol, a.source, a.to)
	}
	return fmt.Sprintf("%s by %s to %s", protocol, a.as, a.to)
}

func (a attempt) family() iptables.Family { return iptables.FamilyOf(a.to.Addr()) }

// land makes a connection and returns where it arrived. What does not is waited for no
// longer than patience.
func (s *scene) land(t *testing.T, a attempt, patience time.Duration) landing {
	source := unspecified(a.to.Addr())
	if a.source.IsValid() {
		source = a.source
	}
	from := netip.AddrPortFrom(source, s.NextPort())
	word, err := "", error(nil)
	if a.udp {
		word, err = s.query(a, from, patience)
	} else {
		word, err = s.talk(t, a, from, patience)
	}
	if err != nil {
		return landing{}
	}
	var l landing
	if _, err := fmt.Sscan(word, &l.at, &l.port); err != nil {
		t.Errorf("%s: got %q", a, word)
	}
	return l
}

// talk returns what the server says first, once it has heard something too.
func (s *scene) talk(t *testing.T, a attempt, from netip.AddrPort, patience time.Duration) (string, error) {
	conn, err := s.namespace(a.client).Dial(t.Context(), "tcp", lab.Client{Socket: lab.Socket{As: a.as}, Source: from, Timeout: patience}, a.to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// Nobody has to wait for the end of what does not arrive.
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(conn)
	word, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "again\n"); err != nil {
		return "", err
	}
	_, err = reader.ReadString('\n')
	return word, err
}

func (s *scene) query(a attempt, from netip.AddrPort, patience time.Duration) (string, error) {
	conn, err := s.namespace(a.client).OpenUDP(lab.Socket{As: a.as}, from)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.WriteToUDPAddrPort([]byte("query"), a.to); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	size, by, err := conn.ReadFromUDPAddrPort(buf)
	if err == nil && by != a.to {
		err = fmt.Errorf("asked %s, got an answer from %s", a.to, by)
	}
	return string(buf[:size]), err
}

const (
	// shortly is how long to wait for what may not arrive. Longer is for when the program
	// says that it does.
	shortly = 250 * time.Millisecond
	longer  = 3 * time.Second
)

// landAll makes all connections at once, each several times, and returns where they
// arrived.
func (s *scene) landAll(t *testing.T, all []attempt, times int, patience time.Duration) [][]landing {
	landings := make([][]landing, len(all))
	var group sync.WaitGroup
	for i, a := range all {
		landings[i] = make([]landing, times)
		for n := range times {
			group.Go(func() { landings[i][n] = s.land(t, a, patience) })
		}
	}
	group.Wait()
	return landings
}
