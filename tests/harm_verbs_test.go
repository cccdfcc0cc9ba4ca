package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// said is a run of the program.
type said struct {
	status      int
	out, errors string
}

func (s said) String() string { return fmt.Sprintf("exit status %d\n%s%s", s.status, s.out, s.errors) }

// warns reports whether it warns of rules of others, or of routing.
func (s said) warns() bool { return strings.Contains(s.errors, "warning:") }

// digits are what nobody can read.
var digits = regexp.MustCompile(`[0-9a-f]{17,}`)

// say runs the program. No answer may have a long number in it, and none is an error that
// ends a command.
func (c *considered) say(t *testing.T, args ...string) said {
	t.Helper()
	var out, messages bytes.Buffer
	run := c.command(args...)
	run.Stdout, run.Stderr = &out, &messages
	var exit *exec.ExitError
	err := c.Pod.Run(t.Context(), run)
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatal(err)
	}
	s := said{0, out.String(), messages.String()}
	if exit != nil {
		s.status = exit.ExitCode()
	}
	if s.status == 1 || s.status == 2 {
		t.Errorf("meshtables %s: %s", strings.Join(args, " "), s)
	}
	if digits.MatchString(s.out + s.errors) {
		t.Errorf("meshtables %s: nobody can read this: %s", strings.Join(args, " "), s)
	}
	return s
}

// settleTruth looks longer at everything that did not arrive in time.
func (c *considered) settleTruth(t *testing.T) {
	t.Helper()
	if !c.chance {
		c.lookAt(t, longer, func(i int) bool { return slices.Contains(c.landings[i], landing{}) })
	}
}

// verify wants an alarm if and only if something does not arrive, or rules of ours differ.
func (c *considered) verify(t *testing.T) {
	t.Helper()
	s := c.say(t, append([]string{"verify", "--backend=" + c.backend}, c.args()...)...)
	if s.status == 0 && c.harmed() && !c.unsure {
		c.settleTruth(t)
	}
	asWanted := s.status == 0 && strings.HasPrefix(s.out, "as wanted")
	switch {
	case c.unsure:
		if s.status == 0 && !s.warns() && c.harmed() {
			t.Errorf("verify does not warn that it cannot tell: %s", s)
		}
	case c.damage || c.beyond || c.harmed():
		if s.status != 3 {
			t.Errorf("verify raises no alarm, but %v do not arrive: %s", c.lost(), s)
		}
	case !asWanted || s.warns():
		t.Errorf("verify raises an alarm, but everything arrives: %s", s)
	}
}

// told is the answer of explain about a connection.
type told struct {
	explained
	ByRules     *struct{ explained }
	Listening   *bool
	Undelivered string
	Reasons     []struct{ Why string }
	Trace       *struct{ Agrees bool }
}

// expects returns where a connection arrives according to an answer.
func (e *told) expects(a attempt) landing {
	arrives := (e.Listening == nil || *e.Listening) && e.Undelivered == ""
	switch {
	case !arrives:
		return landing{}
	case e.Verdict.IsCaptured() && len(e.Reasons) > 0 && !strings.HasPrefix(e.Reasons[0].Why, "cannot tell: "):
		// It is lost later.
		return landing{}
	case e.Port != 0:
		return landing{"pod", e.Port}
	case e.Verdict == explain.Bypassed:
		return landing{a.owner(), a.to.Port()}
	}
	return landing{}
}

// contradicts returns what an answer says that is not so.
func (c *considered) contradicts(i int, e *told) error {
	a := c.attempts[i]
	if e.Verdict == explain.Unknown {
		if !c.unsure && !c.chance {
			return errors.New("it cannot tell")
		}
		return nil
	}
	expected := e.expects(a)
	for _, l := range c.landings[i] {
		elsewhere := e.Verdict == explain.Taken && e.Port == 0 && l != a.wanted()
		// What bypasses the proxy, or is sent elsewhere, may be lost there.
		lost := l == landing{} && (e.Verdict == explain.Taken || e.Verdict == explain.Bypassed && (c.thenLost || a.wanted().at == "peer"))
		// Damage can be why it arrives at another port of the proxy's, or why it is lost.
		damaged := c.damage && e.Verdict.IsCaptured() && len(e.Reasons) > 0 && l == landing{"pod", e.Port}
		if l != expected && !elsewhere && !lost && !damaged {
			return fmt.Errorf("it says %s %d, but the connection arrives at %s", e.Verdict, e.Port, l)
		}
	}
	if !c.arrives(i) && len(e.Reasons) == 0 && e.Undelivered == "" && !c.isGuessed() {
		return errors.New("it does not say why")
	}
	return c.invents(i, e)
}

// isGuessed reports whether the damage looks as if it were asked for. The backends over
// netlink record what was asked for.
func (c *considered) isGuessed() bool {
	return c.looksMeant && !slices.Contains(overNetlink(), c.backend)
}

// invents returns an error if an answer says that an option exempts a connection that is
// captured by all options.
func (c *considered) invents(i int, e *told) error {
	for _, r := range e.Reasons {
		if c.attempts[i].wanted().at == "peer" && e.Verdict == explain.Bypassed {
			// That is what it should do, and the reason says why.
			continue
		}
		if !c.arrives(i) && !c.isGuessed() && !groundsOfHarm.MatchString(r.Why) {
			return fmt.Errorf("it invents a cause: %s", r.Why)
		}
	}
	return nil
}

// groundsOfHarm is in reasons that name damage or rules of others.
var groundsOfHarm = regexp.MustCompile(`^(the rules are damaged: |no options give these rules: |cannot tell: )|foreign |dormant|no rule in \w+ sends it|somebody changed|meshtables has no rules|no rules of meshtables`)

// explainAll asks about each connection. What arrives does so in both families, so without
// soak one of them is enough.
func (c *considered) explainAll(t *testing.T) {
	t.Helper()
	for i, a := range c.attempts {
		if soak.Whole() || !c.arrives(i) || a.to.Addr().Is6() == (len(c.name)%2 == 0) {
			c.explain(t, i)
		}
	}
}

// explain asks about a connection. Before it is wrong, the connection and a trace get more
// time: on a busy machine a trace can be that of a packet that was sent again.
func (c *considered) explain(t *testing.T, i int, more ...string) (e told) {
	t.Helper()
	args := slices.Concat([]string{"explain"}, c.attempts[i].args(), []string{"--live", "-O", "json"}, more)
	var s said
	var err error
	for range 2 {
		s, e = c.say(t, args...), told{}
		if err = json.Unmarshal([]byte(s.out), &e); err == nil {
			err = errors.Join(c.contradicts(i, &e), c.disagrees(&e))
		}
		if err == nil {
			break
		}
		c.lookAgain(t, i)
	}
	if err == nil && more == nil && s.status != 0 {
		err = errors.New("the exit status is not 0")
	}
	if err != nil {
		t.Errorf("%v: %v (%v)\n%s", args, err, c.landings[i], s)
	}
	return e
}

// disagrees returns an error if the kernel's trace is not what the rules say. Where nobody
// listens, TPROXY drops what they say that it takes.
func (c *considered) disagrees(e *told) error {
	unheard := e.Verdict == explain.Dropped && e.ByRules != nil && e.ByRules.Verdict == explain.TProxied
	if e.Trace == nil || c.unsure || unheard || e.Trace.Agrees && e.ByRules == nil {
		return nil
	}
	return errors.New("the kernel does something else")
}

// trace asks the kernel too, about a connection of each direction. Its answer is the
// headline.
func (c *considered) trace(t *testing.T) {
	t.Helper()
	if isLegacy(c.backend) || c.chance || c.twice {
		return
	}
	seen := make(map[string]bool)
	for i, a := range c.attempts {
		key := fmt.Sprint(a.in)
		if soak.Whole() {
			key = fmt.Sprint(a.in, a.udp, c.landings[i])
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		if e := c.explain(t, i, "--trace"); e.Trace == nil {
			t.Errorf("%v: there is no trace", a.args())
		}
	}
}

// overview wants a direction to be broken if and only if ordinary traffic of it does not
// arrive.
func (c *considered) overview(t *testing.T) {
	t.Helper()
	s := c.say(t, "explain", "--live", "-O", "json")
	var o struct {
		Families []string
		Broken   []struct{ Family, Direction, Why string }
	}
	if err := json.Unmarshal([]byte(s.out), &o); err != nil {
		t.Errorf("explain --live: %v: %s", err, s)
	}
	if s.status != 0 {
		t.Errorf("explain --live: %s", s)
	}
	if c.isGuessed() || c.twice {
		return
	}
	for _, f := range lab.Families() {
		for _, direction := range []string{"in", "out"} {
			broken := slices.ContainsFunc(o.Broken, func(b struct{ Family, Direction, Why string }) bool {
				return b.Family == string(f) && b.Direction == direction
			})
			// It may say that nothing is captured.
			broken = broken || o.Families == nil
			if !broken && c.isHarmed(string(f), direction) {
				c.settleTruth(t)
			}
			if broken != c.isHarmed(string(f), direction) && !c.unsure {
				t.Errorf("explain --live: %s %s: broken: %t, but %v do not arrive: %s", f, direction, broken, c.lost(), s)
			}
		}
	}
}

// show wants a warning if and only if rules of others do harm.
func (c *considered) show(t *testing.T) {
	t.Helper()
	s := c.say(t, "show")
	if s.status != 0 {
		t.Errorf("show: %s", s)
	}
	if c.damage || c.unsure || c.beyond {
		return
	}
	if !s.warns() && c.harmed() {
		c.settleTruth(t)
	}
	if s.warns() != c.harmed() {
		t.Errorf("show warns: %t, but %v do not arrive: %s", s.warns(), c.lost(), s)
	}
}

// probe makes connections of its own, which fare as the ordinary ones do.
func (c *considered) probe(t *testing.T) {
	t.Helper()
	if c.unlikeProbe || c.beyond || c.chance || c.unsure {
		return
	}
	args := append([]string{"probe"}, c.args()...)
	s := c.say(t, append(args, "--probe-timeout=400ms")...)
	if s.status != 0 && !c.isOrdinaryHarmed() {
		s = c.say(t, args...)
	}
	if s.status == 0 && c.isOrdinaryHarmed() {
		c.settleTruth(t)
	}
	harmed := c.isOrdinaryHarmed()
	if harmed != (s.status == 126) && !(c.damage && !harmed) {
		t.Errorf("probe: %s", s)
	}
}

func (c *considered) isOrdinaryHarmed() bool {
	for i := range c.ordinary {
		if !c.arrives(i) {
			return true
		}
	}
	return false
}

// applyAgain wants damage to be mended, and warnings of rules that it cannot change.
func (c *considered) applyAgain(t *testing.T) {
	t.Helper()
	s := c.say(t, append([]string{"--backend=" + c.backend}, c.args()...)...)
	if s.status != 0 {
		t.Errorf("apply: %s", s)
	}
	c.openProxy(t, c.isTransparent())
	c.look(t)
	if c.harmed() && !s.warns() {
		c.settleTruth(t)
	}
	if s.warns() != (c.harmed() || c.beyond && !c.damage) && !c.unsure {
		t.Errorf("apply again warns: %t, but %v do not arrive: %s", s.warns(), c.lost(), s)
	}
	if c.damage && c.harmed() {
		t.Errorf("applied again, %v do not arrive: %s", c.lost(), s)
	}
}
