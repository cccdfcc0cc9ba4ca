package iptables

// answer is whether a packet meets a condition.
type answer int

const (
	no answer = iota
	unsure
	yes
)

func answerOf(met bool) answer {
	if met {
		return yes
	}
	return no
}

// not returns the answer to the negation.
func (a answer) not(negated bool) answer {
	if negated {
		return yes - a
	}
	return a
}

// and returns the answer to two conditions at once.
func (a answer) and(b answer) answer { return min(a, b) }

// or returns the answer to one of two conditions.
func (a answer) or(b answer) answer { return max(a, b) }

// compare asks whether a field has a value that is in one of the intervals.
func (l loaded) compare(met func(Value) bool) answer {
	switch {
	case l.absent:
		return no
	case !l.isKnown():
		return unsure
	}
	return answerOf(met(l.possible.First))
}
