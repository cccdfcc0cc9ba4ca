package iptables

import (
	"errors"
	"sync"
)

// Doubt is the error of a match that a packet alone does not decide.
type Doubt struct {
	// What is the match in words, as far as they go, such as "-m statistic --mode random".
	What string
	// Chance says that the match picks some of the packets that are alike.
	Chance bool
}

// Error returns text such as "it depends on -m statistic --mode random".
func (d *Doubt) Error() string { return "it depends on " + d.What }

// DoubtOf returns the doubt of an error. An error of another kind is a doubt in its words.
func DoubtOf(err error) *Doubt {
	var d *Doubt
	if errors.As(err, &d) {
		return d
	}
	return &Doubt{What: err.Error()}
}

// Effect is what a target does to the packets of a connection, as far as it matters to
// where they go.
type Effect int

// The effects.
const (
	// Unclear may be anything.
	Unclear Effect = iota
	// Passes leaves the packet to the next rule, and changes nothing that rules ask for.
	Passes
	// Discards drops the packet, with an answer or without.
	Discards
	// Rewrites sends the connection to another destination.
	Rewrites
	// Renames gives the connection another source.
	Renames
	// Untracks keeps the packet from connection tracking, and so from nat.
	Untracks
)

// ForeignTarget is a target that only others use. No more is known of it than its effect.
type ForeignTarget interface {
	Target
	Effect() Effect
}

// effects are those of targets by name (iptables-extensions(8)).
var effects = sync.OnceValue(func() map[string]Effect {
	return map[string]Effect{
		"LOG": Passes, "NFLOG": Passes, "TRACE": Passes, "AUDIT": Passes,
		"CHECKSUM": Passes, "CLASSIFY": Passes, "DSCP": Passes, "ECN": Passes, "HL": Passes, "IDLETIMER": Passes,
		"LED": Passes, "RATEEST": Passes, "SECMARK": Passes, "CONNSECMARK": Passes, "SET": Passes, "TCPMSS": Passes,
		"TCPOPTSTRIP": Passes, "TEE": Passes, "TOS": Passes, "TTL": Passes, "ULOG": Passes,
		"REJECT": Discards,
		"DNAT":   Rewrites, "NETMAP": Rewrites, "REDIRECT": Rewrites, "DNPT": Rewrites,
		"SNAT": Renames, "MASQUERADE": Renames, "SNPT": Renames,
		"NOTRACK": Untracks,
	}
})

// Effect returns what the target does, by its name and words.
func (t UnknownTarget) Effect() Effect {
	if t.Name == "CT" {
		return connectionEffect(t.Args)
	}
	return effects()[t.Name]
}

// connectionEffect is about the target CT. Zones are what rules ask for.
func connectionEffect(args []string) Effect {
	effect := Passes
	for _, o := range wordOptions(args) {
		switch o.name {
		case "--notrack":
			return Untracks
		case "--helper", "--timeout", "--ctevents", "--expevents":
		default:
			effect = Unclear
		}
	}
	return effect
}
