package keep

import "time"

// A firewall's reload is over soon, also if somebody makes many of them. Whoever takes away for
// longer what was put back does not want it there, and the two must not keep the machine busy.
const (
	// atOnce is how many restorations in a row are made without a rest.
	atOnce = 10
	// calm is how long nothing must happen until they are in a row no more.
	calm = 10 * time.Second
	// firstRest doubles up to longestRest.
	firstRest   = time.Second
	longestRest = 30 * time.Second
)

// pace says how soon to put back what is missing.
type pace struct {
	last time.Time
	row  int
	rest time.Duration
}

// next returns how long to rest before a restoration, which is wanted now.
func (p *pace) next(now time.Time) time.Duration {
	if now.Sub(p.last) > calm {
		p.row, p.rest = 0, 0
	}
	p.row++
	if p.row > atOnce {
		p.rest = min(max(firstRest, 2*p.rest), longestRest)
	}
	p.last = now.Add(p.rest)
	return p.rest
}
