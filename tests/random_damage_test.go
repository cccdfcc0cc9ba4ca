package tests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestRandomDamage does something at random to our rules, or puts a rule of others
// anywhere, and sees that verify and explain say what becomes of real connections. Each
// number makes the same damage in every run.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	const workers = 8
	var group sync.WaitGroup
	for worker := range workers {
		backend := backends()[worker%len(backends())]
		group.Go(func() {
			t.Run(fmt.Sprint(backend, " ", worker), func(t *testing.T) {
				s := newScene(t, backend)
				for n := worker; n < soak.Times(60, 1000); n += workers {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						atOnce <- struct{}{}
						defer func() { <-atOnce }()
						s.sufferRandomly(t, rand.New(rand.NewPCG(20261212, uint64(n))))
					})
				}
			})
		})
	}
	group.Wait()
}

// sufferRandomly does one random thing.
func (s *scene) sufferRandomly(t *testing.T, random *rand.Rand) {
	t.Helper()
	h := &harm{
		thenLost: true, looksMeant: true,
		about: []func(lab.Family) attempt{
			outTo(lab.OtherOutside, 443), outBy(6000, 6000), outBy(proxy().as.UID, proxy().as.GID), inTo(8443), inFrom(lab.OtherOutside),
		},
	}
	if random.IntN(4) == 0 {
		h.options = "--mode=TPROXY"
	}
	apply(t, s.pod, h.args()...)
	defer s.tidy(t, h)
	s.openProxy(t, h.isTransparent())
	defer s.closeProxy()
	d := newDamager(t, s, h.isTransparent(), random)
	commands := ""
	for range 50 {
		commands, h.damage = d.draw()
		if s.try(t, commands, "") == nil {
			break
		}
		// iptables refuses it.
		commands = ""
	}
	// In the native form's own table, the model does not have every rule that nft can write.
	h.unsure = h.damage && s.backend == native
	c := s.consider(t, h)
	c.verifyRandom(t)
	c.explainAll(t)
	if t.Failed() {
		t.Logf("options: %v\n%s", h.args(), commands)
	}
}

// verifyRandom wants an alarm if something does not arrive. If rules of others are said to
// keep all traffic of a kind from the proxy, ordinary traffic does not arrive.
func (c *considered) verifyRandom(t *testing.T) {
	t.Helper()
	args := append([]string{"verify", "--backend=" + c.backend, "-O", "json"}, c.args()...)
	s := c.say(t, args...)
	if s.status == 0 && c.harmed() {
		c.settleTruth(t)
	}
	if s.status == 0 && c.harmed() {
		t.Errorf("verify raises no alarm, but %v do not arrive: %s", c.lost(), s)
	}
	var v struct {
		Foreign []struct{ Family, Direction, Traffic, Text string }
	}
	if err := json.Unmarshal([]byte(s.out), &v); err != nil {
		t.Errorf("%v: %s", err, s)
	}
	for _, f := range v.Foreign {
		everything := slices.Contains([]string{"tcp", "dns", "dns over tcp"}, f.Traffic)
		if everything && !c.damage && !c.isHarmed(f.Family, f.Direction) {
			t.Errorf("verify raises an alarm, but everything arrives: %s", f.Text)
		}
	}
	if s.status == 3 && !c.damage && len(v.Foreign) == 0 {
		t.Errorf("verify raises an alarm about something else than a rule of others: %s", s)
	}
}
