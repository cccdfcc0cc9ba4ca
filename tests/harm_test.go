package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

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
	// nameServers are those of resolv.conf, nil for those of the lab.
	nameServers []netip.Addr
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

// testHarms tries rows with every backend, or each with one in turn.
func testHarms(t *testing.T, rows []harm) {
	t.Parallel()
	const workers = 2
	for i, a := range rows {
		if slices.ContainsFunc(rows[:i], func(b harm) bool { return a.name == b.name && a.in == b.in }) {
			t.Fatalf("two rows have the name %q", a.name)
		}
	}
	for variant, backend := range backends() {
		for worker := range workers {
			t.Run(fmt.Sprint(backend, " ", worker), func(t *testing.T) {
				t.Parallel()
				shared := newScene(t, backend)
				turn := 0
				for i := range rows {
					h := &rows[i]
					if !h.isIn(backend) {
						continue
					}
					turn++
					if turn%workers != worker || !soak.Turn(i, variant, len(backends())) {
						continue
					}
					t.Run(h.name, func(t *testing.T) {
						s := shared
						if h.isAlone(backend) {
							s = newScene(t, backend)
						}
						s.suffer(t, h)
					})
				}
			})
		}
	}
}

// suffer does harm to a pod and compares what the program says with what happens.
func (s *scene) suffer(t *testing.T, h *harm) {
	t.Helper()
	s.nameServers = h.nameServers
	s.shell(t, expand(h.before, s.backend), "")
	apply(t, s.pod, h.args()...)
	defer s.tidy(t, h)
	s.openProxy(t, h.isTransparent())
	defer s.closeProxy()
	s.shell(t, expand(h.commands, s.backend), expandNFT(h.nft))

	c := s.consider(t, h)
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
	landings [][]landing
}

// consider makes the connections.
func (s *scene) consider(t *testing.T, h *harm) *considered {
	t.Helper()
	c := &considered{scene: s, harm: h}
	for _, f := range lab.Families() {
		c.attempts = append(c.attempts, ordinary(f)...)
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
		// That many at once take their time.
		times, patience = 16, 3*shortly
	}
	c.landings = c.landAll(t, c.attempts, times, patience)
}

// lookAgain is for a connection about which the program says something else.
func (c *considered) lookAgain(t *testing.T, i int) {
	if slices.Contains(c.landings[i], landing{}) && !c.chance {
		c.landings[i] = c.landAll(t, c.attempts[i:i+1], 1, longer)[0]
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

func (c *considered) isOrdinary(i int) bool {
	each := len(c.attempts) / len(lab.Families())
	return i%each < len(ordinary(lab.IPv4))
}
