package capture

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
)

// Policy is one way of capturing traffic: which options it has, what rules follow from
// them, what the rules look like when they are found in a kernel, and why they let a
// connection go.
type Policy interface {
	explain.Policy

	// Ownership tells what the policy owns in a namespace.
	Ownership() iptables.Ownership
	// Proxies returns the users that may be the proxy by rules of a family, the
	// likeliest first.
	Proxies(rules *iptables.Ruleset, f iptables.Family) []uint32
	// Source returns the address from which the proxy connects to the application, or
	// the zero value where it has none of its own.
	Source(f iptables.Family) netip.Addr

	// Options returns those of one command line. Each policy has letters of its own, so it
	// is settled before a command line is parsed.
	Options() Options
	// Recognise reads the options back from rules of the policy, whoever wrote them. form
	// makes of a plan what is written, and read back, in the form of the rules.
	Recognise(rules iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) Recognised
}

// Options are those of a policy, to be read once.
type Options interface {
	// Rows are what flags are made with.
	Rows() []config.Row
	// Read returns what flags, which were made with the rows and parsed, and the other
	// sources ask for, and warnings, a sentence each. The error has all errors of all
	// sources; see [errors.Join].
	Read(flags *config.Flags, src config.Sources) (Wanted, []string, error)
}

// Wanted is what a policy is asked for: a complete and valid set of its options.
type Wanted interface {
	// Plan returns what follows from the options in a namespace with those facts.
	Plan(host.Host) Capture
	// NeedsNameServers reports whether the plan depends on which name servers the
	// namespace has. If so, instead is what to ask for so that it does not, as the end of
	// a hint.
	NeedsNameServers() (needs bool, instead string)
	// Found returns what the plan follows from that no option says, a line each.
	Found(h host.Host, resolvConf string) []string
	// IDs returns the users and groups that rules are about, by their options.
	IDs() []IDs
	// Summarise says what the plan captures, and why not the rest. It spells out the first
	// so many items of each list as listed says, or all if that is 0.
	Summarise(h host.Host, listed int) Summary
	// TakesForOthers reports whether packets may come in to addresses that the namespace
	// does not have, such as those of a virtual machine behind it.
	TakesForOthers() bool
}

// IDs are the users or groups that an option names; of a range the first and the last.
type IDs struct {
	// Option is its name, without dashes.
	Option        string
	Users, Groups []uint32
}

// Recognised is what rules tell about the options that they come from.
type Recognised struct {
	// Wanted has for a list that is too long to be stored with a rule one that makes
	// the same rules.
	Wanted Wanted
	// Refused are the options, such as "--proxy-uid", that rules are stored with and that
	// do not take the values which these have, in order: somebody has changed the rules.
	// Wanted has none of these values.
	Refused []string
	// Host has the name servers that are captured, and nothing else.
	Host host.Host
	// Rules are the given ones, foreign ones included, without our comments and
	// with the origins of those that are as [Wanted.Plan] would have them in the same
	// chain.
	Rules iptables.Ruleset
	// Complete reports whether the options make all that is ours, in the same order.
	Complete bool
}

// Summary is what a plan captures in words: for each direction lines of which the first
// that fits a connection decides.
type Summary struct {
	// Families are those whose traffic is captured at all.
	Families []iptables.Family
	// Mode is how inbound connections get to the proxy, in the policy's words.
	Mode     string
	Inbound  []Line
	Outbound []Line
}

// Line is about some of the traffic.
type Line struct {
	// What is the traffic, such as "tcp to port 15008".
	What string
	// Port is where the proxy gets it, 0 if it does not.
	Port uint16
	// TProxy says that it gets there by TPROXY, not by REDIRECT.
	TProxy bool
	// Dropped says that nobody gets it.
	Dropped bool
	// Why is the option that makes it so, or the reason.
	Why string
}
