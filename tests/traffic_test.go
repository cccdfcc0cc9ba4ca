package tests

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/lab"
)

// The ports that meshtables redirects to by default.
const (
	outboundPort = 15001
	inboundPort  = 15006
	dnsPort      = 15053
)

// The servers that a connection can end at.
const (
	proxyOut = "proxy, outbound"
	proxyIn  = "proxy, inbound"
	proxyDNS = "proxy, DNS"
	pods     = "application in the pod"
	peers    = "server outside"
	vms      = "server in the virtual machine"
	inner    = "server in the container"
)

// passthrough is where the proxy connects to the application from.
var passthrough = lab.Addr{V4: netip.MustParseAddr("127.0.0.6"), V6: netip.MustParseAddr("::6")}

// scenario is one run of the program and what then becomes of connections.
type scenario struct {
	name string
	args []string
	env  []string
	// nameServers are those of resolv.conf, nil for those of the lab.
	nameServers []netip.Addr
	// extend adds to the lab.
	extend func(*testing.T, pod)
	// transparent says that inbound traffic comes to the proxy by TPROXY.
	transparent bool
	// proxy is where connections are captured to; that of Istio's sidecars if it is not set.
	proxy  listeners
	checks []check
}

// check is a connection and the server it must end at with the rules applied.
// Without them, before and after, it must end where it is addressed to, so that
// no check passes for want of rules.
type check struct {
	name string
	from speaker
	to   place
	udp  bool
	want string
	// want6 is what IPv6 must end at, if that is something else.
	want6 string
}

// wanted returns where the connection must end with the rules applied.
func (c check) wanted(f lab.Family) string {
	if f == lab.IPv6 && c.want6 != "" {
		return c.want6
	}
	return c.want
}

// speaker is who connects.
type speaker struct {
	from   func(pod) *lab.Namespace
	as     lab.Identity
	source lab.Addr
	mark   int
}

// at returns the same speaker, connecting from another address.
func (s speaker) at(source lab.Addr) speaker {
	s.source = source
	return s
}

func inPod(p pod) *lab.Namespace { return p.Pod }

// app is the application in the pod; anyone else there is user.
func app() speaker { return user(5000, 5000) }

func user(uid, gid uint32) speaker {
	return speaker{from: inPod, as: lab.Identity{UID: uid, GID: gid}}
}

// proxy is the proxy in the pod, transparentProxy that of TPROXY mode, which has
// to be root.
func proxy() speaker            { return user(1337, 1337) }
func transparentProxy() speaker { return user(0, 1337) }

// peer is somebody outside the pod, vm the machine behind it, and container the container in it.
func peer() speaker { return speaker{from: func(p pod) *lab.Namespace { return p.Peer }} }
func vm() speaker   { return speaker{from: func(p pod) *lab.Namespace { return p.VM }} }

func container() speaker { return speaker{from: func(p pod) *lab.Namespace { return p.Container }} }

// place is where a connection is addressed to.
type place struct {
	addr lab.Addr
	port uint16
}

func to(addr lab.Addr, port uint16) place { return place{addr, port} }

// owner returns who is there.
func (d place) owner() string {
	switch d.addr {
	case lab.PodAddr, lab.PodNet1Addr, lab.VMGateway, lab.ContainerGateway, lab.Loopback:
		return pods
	case lab.ContainerAddr:
		return inner
	case lab.VMAddr:
		return vms
	default:
		return peers
	}
}

// runScenarios runs every scenario with every backend.
func runScenarios(t *testing.T, scenarios []scenario) {
	t.Parallel()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			forEachBackend(t, s.run)
		})
	}
}

func (s scenario) run(t *testing.T, backend string) {
	p := newPod(t, backend)
	p.env, p.nameServers = s.env, s.nameServers
	if s.extend != nil {
		s.extend(t, p)
	}
	s.runIn(t, p)
}

// runIn makes all connections before the rules are applied, with them, and after
// they are removed.
func (s scenario) runIn(t *testing.T, p pod) {
	t.Helper()
	cmp.Or(s.proxy, istioListeners(s.transparent)).serve(t, p)
	s.serve(t, p)
	s.checkAll(t, p, "before", false)
	apply(t, p, s.args...)
	s.checkAll(t, p, "applied", true)
	cleanup(t, p)
	s.checkAll(t, p, "cleaned up", false)
}

// checkAll makes every connection, with each family.
func (s scenario) checkAll(t *testing.T, p pod, phase string, applied bool) {
	t.Helper()
	for _, c := range s.checks {
		for _, f := range lab.Families() {
			if err := s.check(t, p, c, f, applied); err != nil {
				t.Errorf("%s: %s: %s: %v", phase, c.name, f, err)
			}
		}
	}
}

func (s scenario) check(t *testing.T, p pod, c check, f lab.Family, applied bool) error {
	want := c.to.owner()
	if applied {
		want = c.wanted(f)
	}
	source := cmp.Or(c.from.source, anyAddr())
	client := lab.Client{Socket: lab.Socket{As: c.from.as, Mark: c.from.mark}, Source: source.Port(f, p.NextPort())}
	if c.udp {
		return checkUDP(t, p, c, client, f, want)
	}
	conn, err := c.from.from(p).DialTCP(t.Context(), client, c.to.addr.Port(f, c.to.port))
	if c.from.source == passthrough && f == lab.IPv6 && !applied {
		// ::6 is there as long as the rules are.
		return wantError(err, unix.EADDRNOTAVAIL)
	}
	if err != nil {
		return fmt.Errorf("want %s: %w", want, err)
	}
	defer conn.Close()
	return cmp.Or(
		wantServer(conn.Answer, want),
		s.wantAddresses(conn, want, c.to.addr.Port(f, c.to.port)),
	)
}

func checkUDP(t *testing.T, p pod, c check, client lab.Client, f lab.Family, want string) error {
	answer, err := c.from.from(p).AskUDP(t.Context(), client, c.to.addr.Port(f, c.to.port))
	if err != nil {
		return fmt.Errorf("want %s: %w", want, err)
	}
	return wantServer(answer, want)
}

func wantServer(answer lab.Answer, want string) error {
	if answer.Server != want {
		return fmt.Errorf("arrived at %s, want %s", answer.Server, want)
	}
	return nil
}

// wantAddresses fails unless the server sees the client's own address and can
// tell where the client wanted to go.
func (s scenario) wantAddresses(conn *lab.Conn, server string, asked netip.AddrPort) error {
	if conn.Answer.Client != conn.Local() {
		return fmt.Errorf("%s sees client %s, want %s", server, conn.Answer.Client, conn.Local())
	}
	redirected := server == proxyOut || server == proxyDNS || server == proxyIn && !s.transparent
	if redirected && conn.Answer.OriginalDst != asked {
		return fmt.Errorf("%s sees original destination %s, want %s", server, conn.Answer.OriginalDst, asked)
	}
	if !redirected && conn.Answer.Local != asked {
		return fmt.Errorf("%s sees itself at %s, want %s", server, conn.Answer.Local, asked)
	}
	return nil
}

func wantError(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got error %v, want %v", err, want)
	}
	return nil
}

// serve makes a server at every place that is addressed.
func (s scenario) serve(t *testing.T, p pod) {
	t.Helper()
	done := make(map[string]bool)
	for _, c := range s.checks {
		// TCP servers are there for every address of their namespace.
		key := fmt.Sprint(c.to.owner(), c.to.port)
		if c.udp {
			key = fmt.Sprint(c.to)
		}
		if done[key] {
			continue
		}
		done[key] = true
		for _, f := range lab.Families() {
			serve(t, p, c.to, c.udp, f)
		}
	}
}

func serve(t *testing.T, p pod, at place, udp bool, f lab.Family) {
	t.Helper()
	in := map[string]*lab.Namespace{pods: p.Pod, peers: p.Peer, vms: p.VM, inner: p.Container}[at.owner()]
	how := lab.Socket{As: lab.Identity{UID: 5000, GID: 5000}}
	var err error
	if udp {
		err = in.ServeUDP(at.owner(), how, at.addr.Port(f, at.port))
	} else {
		err = in.ServeTCP(at.owner(), how, anyAddr().Port(f, at.port))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// listeners are the ports of a proxy, and how it opens their sockets.
type listeners struct {
	outbound, inbound uint16
	// dns is 0 if the proxy answers no queries.
	dns uint16
	// by is how it opens all but those for inbound connections.
	by, inboundBy lab.Socket
}

// istioListeners are those of Istio's sidecars. For TPROXY the proxy runs as root in its group.
func istioListeners(transparent bool) listeners {
	by := lab.Socket{As: proxy().as}
	l := listeners{outboundPort, inboundPort, dnsPort, by, by}
	if transparent {
		l.inboundBy = lab.Socket{As: transparentProxy().as, Transparent: true}
	}
	return l
}

// serveProxy makes the listeners of Istio's sidecars.
func serveProxy(t *testing.T, p pod, transparent bool) {
	t.Helper()
	istioListeners(transparent).serve(t, p)
}

// serve opens all sockets.
func (l listeners) serve(t *testing.T, p pod) {
	t.Helper()
	for _, f := range lab.Families() {
		err := errors.Join(
			p.Pod.ServeTCP(proxyOut, l.by, anyAddr().Port(f, l.outbound)),
			p.Pod.ServeTCP(proxyIn, l.inboundBy, anyAddr().Port(f, l.inbound)),
		)
		if l.dns != 0 {
			err = errors.Join(err,
				p.Pod.ServeTCP(proxyDNS, l.by, lab.Loopback.Port(f, l.dns)),
				p.Pod.ServeUDP(proxyDNS, l.by, lab.Loopback.Port(f, l.dns)),
			)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func anyAddr() lab.Addr {
	return lab.Addr{V4: netip.IPv4Unspecified(), V6: netip.IPv6Unspecified()}
}
