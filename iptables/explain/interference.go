package explain

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Effect is what foreign rules do to a connection that our rules alone handle otherwise.
type Effect string

// The effects.
const (
	TakenBefore   Effect = "taken"         // it is sent elsewhere
	Exempted      Effect = "exempted"      // it does not come to the rule that captures it
	DroppedBefore Effect = "dropped"       // it is dropped before our rules
	DroppedAfter  Effect = "dropped after" // it is dropped on its way to the proxy's port
	Untracked     Effect = "untracked"     // nat does not see it
	Captured      Effect = "captured"      // our rules alone do not capture it
	AnswerLost    Effect = "answer lost"   // the proxy's answer does not come back
	LaterDropped  Effect = "later dropped" // a packet after the first is dropped
	Renamed       Effect = "renamed"       // it gets another source address than ours
	Unclear       Effect = "unclear"       // cannot tell
)

// Interference is what foreign rules do to the packets of a connection.
type Interference struct {
	Effect Effect
	// By is the rule, or the policy, that does it. If none does it alone, it is one of them.
	By Step
	// Sometimes says that chance decides for each connection.
	Sometimes bool
	// Doubt says why the effect is [Unclear].
	Doubt string
}

// sentence returns a sentence such as "it is dropped by foreign policy DROP of filter OUTPUT".
func (i Interference) sentence() string {
	switch i.Effect {
	case AnswerLost, LaterDropped, Unclear:
		return i.String()
	}
	return "it is " + i.String()
}

// String says it of the connection, such as "dropped by foreign policy DROP of filter OUTPUT".
func (i Interference) String() string {
	if i.Effect == Unclear && i.By.Chain == "" {
		return "cannot tell: " + i.Doubt
	}
	if i.Effect == Unclear {
		return fmt.Sprintf("cannot tell: %s (%s)", i.Doubt, i.by())
	}
	text := map[Effect]string{
		TakenBefore:   "sent elsewhere by %s",
		Exempted:      "exempted by %s",
		DroppedBefore: "dropped by %s",
		DroppedAfter:  "dropped on its way to the proxy by %s",
		Untracked:     "kept from connection tracking, and so from nat, by %s",
		Captured:      "captured only because of %s",
		AnswerLost:    "the proxy's answer is lost by %s",
		LaterDropped:  "its later packets are dropped by %s",
		Renamed:       "kept from its source address by %s",
	}[i.Effect]
	text = fmt.Sprintf(text, i.by())
	if i.Sometimes {
		text = "sometimes " + text
	}
	return text
}

func (i Interference) by() string {
	by := "foreign " + i.By.String()
	if i.By.Doubtful {
		by += " (it may come first)"
	}
	return by
}

// Interfere compares what happens to a packet on its path with what our rules alone do to
// it; see [installed.Path.OnlyOwn]. It is nil if foreign rules make no difference. proxy is the proxy
// as far as it is known.
func Interfere(path *installed.Path, p iptables.Packet, alone, full Result, proxy Proxy) *Interference {
	switch {
	case full.Verdict == Unknown:
		return doubtful(path, p, alone, full)
	case !isLike(full, alone):
		return &Interference{Effect: effectOf(alone, full), By: culprit(path, p, alone, full)}
	case !alone.Verdict.IsCaptured():
		return nil
	}
	return onTheWay(path, p, full, proxy)
}

// isLike reports whether a connection arrives at the same port as with our rules alone. A
// foreign rule may send it there too.
func isLike(full, alone Result) bool {
	if full.Verdict == Taken && alone.Verdict == Redirected && full.Port != 0 {
		return full.Port == alone.Port
	}
	return full.endsAs(alone)
}

// doubtful is about a result that is unknown. If chance decides, what can happen happens.
func doubtful(path *installed.Path, p iptables.Packet, alone, full Result) *Interference {
	if full.Chance {
		for _, r := range full.Outcomes {
			if r.Verdict != alone.Verdict && r.Verdict != Unknown {
				i := &Interference{Effect: effectOf(alone, r), By: *full.By, Sometimes: true}
				if r.By != nil && r.By.Foreign {
					i.By = *r.By
				}
				return i
			}
		}
	}
	i := &Interference{Effect: Unclear, Doubt: full.Doubt}
	if full.By != nil {
		i.By = *full.By
	}
	return i
}

func effectOf(alone, full Result) Effect {
	switch {
	case full.Verdict == Taken:
		return TakenBefore
	case full.Verdict == Dropped && slices.ContainsFunc(full.Path, Step.captures):
		return DroppedAfter
	case full.Verdict == Dropped:
		return DroppedBefore
	case full.Verdict == alone.Verdict && alone.Source.IsValid() && !full.Source.IsValid():
		return Renamed
	case full.Untracked && alone.Verdict.IsCaptured():
		return Untracked
	case full.Verdict.IsCaptured():
		return Captured
	}
	return Exempted
}

// captures reports whether a step is a rule of ours that gives packets to the proxy.
func (s Step) captures() bool {
	switch s.Rule.Target.(type) {
	case iptables.Redirect, iptables.TProxy:
		return !s.Foreign
	}
	return false
}

// culprit returns the foreign rule without which our rules would do to the packet what they
// do alone. If there is none, others would do the same: then it is the first foreign rule
// that decides.
func culprit(path *installed.Path, p iptables.Packet, alone, full Result) Step {
	if full.By != nil && full.By.Foreign {
		return *full.By
	}
	var foreign []Step
	for _, s := range full.Path {
		if s.Foreign {
			foreign = append(foreign, s)
		}
	}
	for _, s := range foreign {
		if WalkWithout(path, p, s).endsAs(alone) {
			return s
		}
	}
	for _, s := range foreign {
		if s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Drop {
			return s
		}
	}
	if len(foreign) > 0 {
		return foreign[0]
	}
	return Step{Foreign: true}
}

// onTheWay is about the packets after the first of a captured connection.
func onTheWay(path *installed.Path, p iptables.Packet, captured Result, proxy Proxy) *Interference {
	answer := Answer(path, p, captured, proxy)
	if i := lost(answer, AnswerLost); i != nil {
		return i
	}
	if answer.Untracked && captured.Verdict != TProxied && answer.By != nil && answer.By.Foreign {
		return &Interference{Effect: AnswerLost, By: *answer.By}
	}
	if s, ok := strayZone(captured, answer); ok {
		if !s.Foreign {
			s, ok = zoneKept(path, p, proxy, append(captured.Path, answer.Path...))
		}
		if ok {
			return &Interference{Effect: AnswerLost, By: s}
		}
	}
	return lost(Next(path, p, captured), LaterDropped)
}

// strayZone returns the rule by which the answer to a redirected packet gets to another zone
// of conntrack, where nat does not know the connection. If none does it, it is the one that
// put the packet into its zone.
func strayZone(captured, answer Result) (s Step, ok bool) {
	if captured.Verdict == TProxied || answer.Verdict != Bypassed || answer.Untracked || answer.Zone == captured.Zone {
		return s, false
	}
	for _, path := range [][]Step{captured.Path, answer.Path} {
		for _, step := range path {
			if _, zones := step.Rule.Target.(iptables.CTZone); zones {
				s, ok = step, true
			}
		}
	}
	return s, ok
}

// zoneKept returns the foreign rule on the way of a packet and its answer that keeps one of
// them from our rules about zones, if these alone lose nothing.
func zoneKept(path *installed.Path, p iptables.Packet, proxy Proxy, way []Step) (s Step, ok bool) {
	own := path.OnlyOwn()
	captured := WalkPath(own, p)
	if _, strays := strayZone(captured, Answer(own, p, captured, proxy)); strays {
		return s, false
	}
	at := slices.IndexFunc(way, func(s Step) bool {
		return s.Foreign && (s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return)
	})
	if at < 0 {
		return s, false
	}
	return way[at], true
}

// lost returns the effect if a foreign rule drops a packet, or may.
func lost(r Result, e Effect) *Interference {
	switch {
	case r.Verdict == Dropped && r.By.Foreign:
		return &Interference{Effect: e, By: *r.By}
	case r.Verdict == Unknown && r.By != nil && r.By.Foreign:
		return &Interference{Effect: Unclear, By: *r.By, Doubt: r.Doubt}
	}
	return nil
}

// Mend returns the command that takes the foreign rule away.
func (i Interference) Mend(path *installed.Path, f iptables.Family) string {
	return mend(i.By, path, f)
}
