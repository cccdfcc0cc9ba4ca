package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// harm is what somebody does to a pod. First real connections show what becomes of the
// traffic that is captured, and then what the program says has to agree.
type harm struct {
	name string
	// options are what is asked for besides --redirect-dns.
	options string
	// before are commands that come before the rules are applied, commands what comes
	// after, and nft text for nft then; see [expand] and [expandNFT].
	before, commands, nft string
	// undo are commands that remove what is neither rules nor the program's.
	undo string
	// nameServer is the only one of resolv.conf, if it is not the lab's.
	nameServer netip.Addr
	// about are connections that are captured too, besides the ordinary ones.
	about []func(lab.Family) attempt
	// in are the backends for which it is, space between them; empty for all.
	in string
	// harmless are the backends with which every connection arrives; "all" for all.
	harmless string
	// damage says that our own rules, or their routing, are not as they should be.
	damage bool
	// looksMeant says that the damaged rules are those of other options, so that only who
	// knows what was asked for can see the damage: verify with options.
	looksMeant bool
	// twice says that there are rules of ours in two backends. What explain says is about one.
	twice bool
	// chance says that not every connection fares alike, unsure that nobody can tell from
	// the rules.
	chance, unsure bool
	// thenLost says that what bypasses the proxy does not arrive anywhere, beyond that more is
	// harmed than the connections made here.
	thenLost, beyond bool
	// unlikeProbe says that the connections of probe are not those that it is about.
	unlikeProbe bool
}

func (h *harm) isIn(backend string) bool {
	return h.in == "" || slices.Contains(strings.Fields(h.in), backend)
}

func (h *harm) isHarmless(backend string) bool {
	return h.harmless == "all" || slices.Contains(strings.Fields(h.harmless), backend)
}

// isAlone reports whether it needs a pod of its own: a legacy table once made stays.
func (h *harm) isAlone(backend string) bool {
	return strings.Contains(h.before+h.commands, "legacy") && backend != "iptables-legacy"
}

func (h *harm) args() []string {
	return append([]string{"--redirect-dns"}, strings.Fields(h.options)...)
}

func (h *harm) isTransparent() bool { return strings.Contains(h.options, "TPROXY") }

// ordinary are the connections that every pod has and that its rules capture.
func (h *harm) ordinary(f lab.Family) []attempt {
	all := []attempt{inTo(appPort)(f), outTo(lab.Outside, 80)(f)}
	server := lab.Resolver.In(f)
	if h.nameServer.IsValid() {
		if h.nameServer.Is4() != server.Is4() {
			return all
		}
		server = h.nameServer
	}
	query := attempt{client: "pod", as: app().as, to: netip.AddrPortFrom(server, 53)}
	all = append(all, query)
	query.udp = true
	return append(all, query)
}

// testHarms tries rows with every backend that they are for, or each with one in turn. Most
// of the time they wait for what does not arrive, so there are more workers than processors.
func testHarms(t *testing.T, rows []harm) {
	t.Parallel()
	const workers = 3
	var group sync.WaitGroup
	for _, backend := range backends() {
		own := rowsOf(t, rows, backend)
		for worker := range workers {
			group.Go(func() {
				t.Run(fmt.Sprint(backend, " ", worker), func(t *testing.T) { sufferAll(t, own, backend, worker, workers) })
			})
		}
	}
	group.Wait()
}

// atOnce bounds how many rows are tried at the same time, in all tests together: on a machine
// that is too busy nothing arrives in time.
var atOnce = make(chan struct{}, 6)

// rowsOf returns the rows whose turn it is with a backend.
func rowsOf(t *testing.T, rows []harm, backend string) []*harm {
	t.Helper()
	var own []*harm
	for i := range rows {
		h := &rows[i]
		if slices.ContainsFunc(rows[:i], func(b harm) bool { return h.name == b.name && h.in == b.in }) {
			t.Fatalf("two rows have the name %q", h.name)
		}
		among := slices.DeleteFunc(backends(), func(b string) bool { return !h.isIn(b) })
		if at := slices.Index(among, backend); at >= 0 && soak.Turn(i, at, len(among)) {
			own = append(own, h)
		}
	}
	return own
}

// sufferAll tries a worker's share of rows in one pod, one after the other.
func sufferAll(t *testing.T, rows []*harm, backend string, worker, workers int) {
	shared := newScene(t, backend)
	for i := worker; i < len(rows); i += workers {
		h := rows[i]
		t.Run(h.name, func(t *testing.T) {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			s := shared
			if h.isAlone(backend) {
				s = newScene(t, backend)
			}
			s.suffer(t, h)
		})
	}
}

// suffer does harm to a pod and compares what the program says with what happens.
func (s *scene) suffer(t *testing.T, h *harm) {
	t.Helper()
	s.nameServers = nil
	if h.nameServer.IsValid() {
		s.nameServers = []netip.Addr{h.nameServer}
	}
	s.shell(t, expand(h.before, s.backend), "")
	apply(t, s.pod, h.args()...)
	defer s.tidy(t, h)
	s.openProxy(t, h.isTransparent())
	defer s.closeProxy()
	s.shell(t, expand(h.commands, s.backend), expandNFT(h.nft))

	c := s.consider(t, h)
	if h.isHarmless(s.backend) {
		c.settleTruth(t)
	}
	if c.harmed() == h.isHarmless(s.backend) && !h.damage && !h.unsure && !h.beyond {
		t.Errorf("connections that do not arrive: %v: the row has to say something else", c.lost())
	}
	c.verify(t)
	c.explainAll(t)
	c.overview(t)
	c.show(t)
	c.trace(t)
	s.closeProxy()
	c.probe(t)
	c.applyAgain(t)
	if t.Failed() {
		t.Logf("options: %v\n%s%s", h.args(), expand(h.before+h.commands, s.backend), expandNFT(h.nft))
	}
}

// case of harm: which connections are made, and where each arrived.
type considered struct {
	*scene
	*harm
	attempts []attempt
	// ordinary is the number of those that every pod has; they come first.
	ordinary int
	landings [][]landing
}

// consider makes the connections.
func (s *scene) consider(t *testing.T, h *harm) *considered {
	t.Helper()
	c := &considered{scene: s, harm: h}
	for _, f := range lab.Families() {
		c.attempts = append(c.attempts, h.ordinary(f)...)
	}
	c.ordinary = len(c.attempts)
	for _, f := range lab.Families() {
		for _, about := range h.about {
			c.attempts = append(c.attempts, about(f))
		}
	}
	c.look(t)
	return c
}

// look makes the connections. What should arrive and does not gets a second, longer look
// only once the program says that it arrives.
func (c *considered) look(t *testing.T) {
	t.Helper()
	times, patience := 1, shortly
	if c.chance {
		// That many at once take their time. After a second a client tries again (RFC 6298,
		// section 2.1).
		times, patience = 16, 900*time.Millisecond
	}
	c.landings = c.landAll(t, c.attempts, times, patience)
	if c.chance {
		return
	}
	// On a busy machine what arrives takes longer.
	c.lookAt(t, 2*shortly, func(i int) bool { return c.landings[i][0] == (landing{}) })
}

// lookAt makes those of the connections again that are in question, all at once.
func (c *considered) lookAt(t *testing.T, patience time.Duration, asked func(i int) bool) {
	t.Helper()
	var again []attempt
	var at []int
	for i, a := range c.attempts {
		if asked(i) {
			again, at = append(again, a), append(at, i)
		}
	}
	for i, l := range c.landAll(t, again, 1, patience) {
		c.landings[at[i]] = l
	}
}

// lookAgain is for a connection about which the program says something else.
func (c *considered) lookAgain(t *testing.T, i int) {
	t.Helper()
	if !c.chance {
		c.lookAt(t, longer, func(other int) bool { return other == i && slices.Contains(c.landings[i], landing{}) })
	}
}

// arrives reports whether a connection arrives where it has to, each time.
func (c *considered) arrives(i int) bool {
	want := c.attempts[i].wanted()
	return !slices.ContainsFunc(c.landings[i], func(l landing) bool { return l != want })
}

// lost are the connections that do not arrive where they have to. What others do to the
// proxy's own is no matter.
func (c *considered) lost() []string {
	var all []string
	for i, a := range c.attempts {
		if !c.arrives(i) && (c.damage || a.wanted().at == "pod") {
			all = append(all, fmt.Sprintf("%s: %v", a, c.landings[i]))
		}
	}
	return all
}

func (c *considered) harmed() bool { return len(c.lost()) > 0 }

// isHarmed reports whether ordinary traffic of a family in a direction does not arrive.
func (c *considered) isHarmed(family, direction string) bool {
	for i, a := range c.attempts {
		if c.isOrdinary(i) && a.family().String() == family && (direction == "in") == a.in && !c.arrives(i) {
			return true
		}
	}
	return false
}

func (c *considered) isOrdinary(i int) bool { return i < c.ordinary }
