package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestExplainIsWhatHappens applies every recorded run's arguments, asks explain
// about connections at and around the constants of the rules, makes these
// connections, and sees that they end where explain says.
func TestExplainIsWhatHappens(t *testing.T) {
	t.Parallel()
	const labs = 4
	cases := recorded.Cases(t)
	for variant, backend := range overNetlink() {
		for worker := range labs {
			t.Run(fmt.Sprint(backend, " ", worker), func(t *testing.T) {
				t.Parallel()
				w := newWitness(t, backend)
				for i := worker; i < len(cases); i += labs {
					if !soak.Turn(i/labs, variant, len(overNetlink())) {
						continue
					}
					w.observe(t, &cases[i], rand.New(rand.NewPCG(20261120, uint64(i))))
				}
				if len(w.verdicts) < 3 || w.connections < soak.Times(75, 150) {
					t.Errorf("%d connections with the verdicts %v prove little", w.connections, w.verdicts)
				}
				t.Logf("%d connections: %v", w.connections, w.verdicts)
			})
		}
	}
}

// overNetlink are the backends whose rules the kernel can trace and that take no
// programs: one for each form.
func overNetlink() []string { return []string{"iptables-nft", native} }

// witness is a lab in which there is a server wherever a connection may end.
type witness struct {
	pod
	serving     map[string]bool
	connections int
	verdicts    map[explain.Verdict]int
}

func newWitness(t *testing.T, backend string) *witness {
	w := &witness{
		pod:     newPod(t, backend),
		serving: make(map[string]bool), verdicts: make(map[explain.Verdict]int),
	}
	if err := w.AddNet1(); err != nil {
		t.Fatal(err)
	}
	if err := w.AddVM(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Peer answers for every address that is nobody else's.
	for _, args := range [][]string{
		// Table main: what is in table local goes before all of it.
		{"route", "add", "local", "default", "dev", "lo", "table", "main"},
		{"-6", "route", "add", "local", "default", "dev", "lo", "table", "main"},
	} {
		var out bytes.Buffer
		if err := w.Peer.Run(t.Context(), lab.Command{Path: "ip", Args: args, Stdout: &out, Stderr: &out}); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, &out)
		}
	}
	return w
}

func (w *witness) observe(t *testing.T, c *recorded.Case, random *rand.Rand) {
	t.Helper()
	w.pod = w.forCase(c)
	apply(t, w.pod, caseArgs(c)...)
	planned := planCase(t, w.pod, c)
	for _, f := range lab.Families() {
		s := newSampler(&planned.rules, f, random)
		for i, q := range s.attempts() {
			how := caseArgs(c)
			if i%2 == 1 {
				how = []string{"--live"}
			}
			if _, err := w.compare(t, q, how); err != nil {
				t.Errorf("%s: explain %s: %v", c.Name, strings.Join(q.args(), " "), err)
			}
		}
	}
}

// attempt is a connection to ask about and to make.
type attempt struct {
	in      bool   // to the pod, or out of it
	client  string // which namespace: "pod", "peer" or "vm"
	to      netip.AddrPort
	source  netip.Addr // invalid for any
	as      lab.Identity
	mark    int
	udp     bool
	network string // the interface, where it is not the default
}

// args returns the words for explain.
func (a attempt) args() []string {
	args := []string{"out", a.to.String(), "--uid", fmt.Sprint(a.as.UID), "--gid", fmt.Sprint(a.as.GID)}
	interfaceOption := "--out-interface"
	if a.in {
		args, interfaceOption = []string{"in", a.to.String()}, "--in-interface"
	}
	if a.network != "" {
		args = append(args, interfaceOption, a.network)
	}
	if a.source.IsValid() {
		args = append(args, "--from", a.source.String())
	}
	if a.mark != 0 {
		args = append(args, "--mark", strconv.Itoa(a.mark))
	}
	if a.udp {
		args = append(args, "--proto", "udp")
	}
	return args
}

// explained is what becomes of a connection, and the port where the proxy gets it.
type explained struct {
	Verdict explain.Verdict `json:"verdict"`
	Port    uint16          `json:"port"`
}

// compare returns what explain says, and an error if the connection does not end there.
func (w *witness) compare(t *testing.T, a attempt, how []string) (told explained, err error) {
	t.Helper()
	args := slices.Concat([]string{"explain"}, a.args(), how, []string{"-O", "json"})
	if err := json.Unmarshal([]byte(meshtables(t, w.pod, args...)), &told); err != nil {
		return told, err
	}
	return told, w.see(t, a, told)
}

// see returns an error if a connection does not end where it has to.
func (w *witness) see(t *testing.T, a attempt, told explained) error {
	t.Helper()
	w.connections++
	w.verdicts[told.Verdict]++
	server, local := a.owner(), a.to
	switch told.Verdict {
	case explain.Redirected, explain.Taken:
		server, local = "pod", netip.AddrPort{}
	case explain.TProxied:
		server = "pod"
		if a.client == "vm" {
			// nat redirects it too; the socket that it has it keeps.
			local = netip.AddrPort{}
		}
	}
	port := told.Port
	if port == 0 {
		port = a.to.Port()
	}
	if a.udp {
		return w.send(t, a, server, port)
	}
	w.serve(t, a, server, port)
	patience := lab.DefaultTimeout
	if told.Verdict == explain.Dropped {
		patience = dropPatience
	}
	answer, err := w.connect(t, a, patience)
	if told.Verdict == explain.Dropped {
		if err == nil {
			return fmt.Errorf("dropped, but it arrived at %s", answer.Server)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s to port %d: %w", told.Verdict, told.Port, err)
	}
	want := fmt.Sprintf("%s %d", server, port)
	if answer.Server != want || local.IsValid() && answer.Local != local {
		return fmt.Errorf("%s to port %d, but it arrived at %s (%s), want %s", told.Verdict, told.Port, answer.Server, answer.Local, want)
	}
	return nil
}

// owner is the namespace of the address that is asked for.
func (a attempt) owner() string {
	for _, own := range []lab.Addr{lab.PodAddr, lab.PodNet1Addr, lab.VMGateway} {
		if a.to.Addr() == own.V4 || a.to.Addr() == own.V6 {
			return "pod"
		}
	}
	if a.to.Addr().IsLoopback() {
		return a.client
	}
	return "peer"
}

// serve makes sure that there are servers where the connection should end, and
// where it would if explain were wrong: at its own port, and at the proxy's.
func (w *witness) serve(t *testing.T, a attempt, server string, port uint16) {
	t.Helper()
	for _, p := range []struct {
		server string
		port   uint16
	}{{server, port}, {a.owner(), a.to.Port()}, {"pod", outboundPort}, {"pod", inboundPort}} {
		name := fmt.Sprintf("%s %d", p.server, p.port)
		at := netip.AddrPortFrom(unspecified(a.to.Addr()), p.port)
		if key := name + at.String(); !w.serving[key] {
			w.serving[key] = true
			// TPROXY gives packets to transparent sockets only.
			how := lab.Socket{As: lab.Identity{GID: 5000}, Transparent: true}
			if err := w.namespace(p.server).ServeTCP(name, how, at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *witness) namespace(name string) *lab.Namespace {
	return map[string]*lab.Namespace{"pod": w.Pod, "peer": w.Peer, "vm": w.VM}[name]
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// dropPatience is how long a connection is waited for that should never come to be: a SYN
// that got lost for another reason is sent again within it (RFC 6298, section 2.1).
const dropPatience = 1500 * time.Millisecond

// connect makes the connection.
func (w *witness) connect(t *testing.T, a attempt, patience time.Duration) (lab.Answer, error) {
	t.Helper()
	source := unspecified(a.to.Addr())
	if a.source.IsValid() {
		source = a.source
	}
	client := lab.Client{
		Socket: lab.Socket{As: a.as, Mark: a.mark}, Timeout: patience, Source: netip.AddrPortFrom(source, w.NextPort()),
	}
	conn, err := w.namespace(a.client).DialTCP(t.Context(), client, a.to)
	if err != nil {
		return lab.Answer{}, err
	}
	defer conn.Close()
	return conn.Answer, nil
}

// send returns an error unless a datagram arrives at a port of the server. Nobody
// answers: an answer would need a proxy that runs as the user of the rules.
func (w *witness) send(t *testing.T, a attempt, server string, port uint16) error {
	t.Helper()
	from := w.NextPort()
	any := unspecified(a.to.Addr())
	listener, err := w.namespace(server).OpenUDP(lab.Socket{}, netip.AddrPortFrom(any, port))
	if err != nil {
		return err
	}
	defer listener.Close()
	sender, err := w.namespace(a.client).OpenUDP(lab.Socket{As: a.as}, netip.AddrPortFrom(any, from))
	if err != nil {
		return err
	}
	defer sender.Close()
	query := fmt.Sprintf("query %d", from)
	if _, err := sender.WriteToUDPAddrPort([]byte(query), a.to); err != nil {
		return err
	}
	if err := listener.SetReadDeadline(time.Now().Add(lab.DefaultTimeout)); err != nil {
		return err
	}
	got := make([]byte, len(query))
	if _, _, err := listener.ReadFromUDPAddrPort(got); err != nil || string(got) != query {
		return fmt.Errorf("want it at %s %d: got %q, %w", server, port, got, err)
	}
	return nil
}
