package explain

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// maxWalks bounds how many combinations of doubtful matches are tried. Beyond it the verdict
// is [Unknown].
const maxWalks = 256

// oracle answers doubtful matches, one combination of answers for each walk. Matches in
// the same words get the same answer within a walk, unless chance decides.
type oracle struct {
	// answers are those that are fixed for this walk. All later ones are "does not match".
	answers []bool
	asked   []question
}

type question struct {
	doubt *iptables.Doubt
	at    Step
}

func (o *oracle) ask(d *iptables.Doubt, at Step) bool {
	if !d.Chance {
		if i := slices.IndexFunc(o.asked, func(q question) bool { return q.doubt.What == d.What }); i >= 0 {
			return i < len(o.answers) && o.answers[i]
		}
	}
	i := len(o.asked)
	o.asked = append(o.asked, question{d, at})
	return i < len(o.answers) && o.answers[i]
}

// next returns the answers for the next walk: the last "does not match" becomes "matches".
func (o *oracle) next() (answers []bool, ok bool) {
	answers = make([]bool, len(o.asked))
	copy(answers, o.answers)
	for i := range slices.Backward(answers) {
		if !answers[i] {
			answers[i] = true
			return answers[:i+1], true
		}
	}
	return nil, false
}

// tryAll walks with every combination of answers and joins the results.
func tryAll(walk func(*oracle) Result) Result {
	var all []Result
	var doubts []question
	o := &oracle{}
	for n := 1; ; n++ {
		all = append(all, walk(o))
		doubts = append(doubts, o.asked...)
		answers, more := o.next()
		if !more {
			return join(all, doubts)
		}
		if n == maxWalks {
			all[0].Verdict, all[0].Port, all[0].By = Unknown, 0, nil
			all[0].Doubt = fmt.Sprintf("more than %d combinations of matches decide it", maxWalks)
			return all[0]
		}
		o = &oracle{answers: answers}
	}
}

// join returns the common result, or an unknown one with the different results.
func join(all []Result, doubts []question) Result {
	first := all[0]
	var different []Result
	for _, r := range all {
		if !slices.ContainsFunc(different, r.endsAs) {
			different = append(different, r)
		}
	}
	if len(different) == 1 {
		return first
	}
	unknown := Result{Verdict: Unknown, Path: commonPath(all), Outcomes: different, Chance: true}
	for _, q := range doubts {
		if !q.doubt.Chance {
			unknown.Chance = false
		}
	}
	decisive := doubts[0]
	unknown.By = &decisive.at
	unknown.Doubt = decisive.doubt.Error()
	return unknown
}

// commonPath returns the steps with which all paths begin.
func commonPath(all []Result) []Step {
	common := all[0].Path
	for _, r := range all[1:] {
		n := 0
		for n < len(common) && n < len(r.Path) && common[n].is(r.Path[n]) {
			n++
		}
		common = common[:n]
	}
	return common
}
