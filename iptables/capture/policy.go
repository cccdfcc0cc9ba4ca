package capture

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
)

// Policy is one way to capture traffic. It knows its options, the rules that follow from
// them, how to recognise these rules in a kernel, and why they exempt a connection.
type Policy interface {
	explain.Policy

	// Name returns the policy's name, a word that no other policy has.
	Name() string
	// Mesh returns the name of the mesh, such as "istio", and Dataplane that of its way to get
	// at the traffic of pods, such as "sidecar".
	Mesh() string
	Dataplane() string
	// Ownership returns what the policy owns in a namespace.
	Ownership() iptables.Ownership
	// Proxies returns what may be the proxy according to the rules of a family, the
	// likeliest first.
	Proxies(rules *iptables.Ruleset, f iptables.Family) []explain.Proxy
	// Source returns the address from which the proxy connects to the application, or
	// the zero value if it has no address of its own.
	Source(f iptables.Family) netip.Addr

	// Decide says whether the policy captures the traffic of a pod with these annotations. The
	// error names an annotation that cannot be read.
	Decide(annotations map[string]string) (Decision, error)

	// Options returns the options for one command line. Choose the policy before you parse
	// the command line: each has its own option letters.
	Options() Options
	// Recognise reads the options back from rules of the policy, whoever wrote them. form
	// returns a plan as it reads back from the kernel, in the form of the rules.
	Recognise(rules iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) Recognised
	// Evidence counts what only this policy would have written: chains and, in chains whose
	// names other policies use too, rules. See [Policies.Installed].
	Evidence(rules *iptables.Ruleset) int
	// Presume returns the options that recognised rules were presumably asked for with, if
	// nothing but the namespace says so. lookups are our policy rules there. What the rules
	// leave out although it is there by default, such as IPv6, is left to the namespace.
	Presume(found Recognised, lookups []iptables.Lookup) Wanted
}

// Title returns the words for a policy, such as "istio sidecar".
func Title(p Policy) string { return p.Mesh() + " " + p.Dataplane() }

// Options are a policy's options, to be read once.
type Options interface {
	// Rows are the options from which to make flags.
	Rows() []config.Row
	// Variables returns how the names of environment variables begin: those that the
	// reference has for options, and those among them that are not about options.
	Variables() (reference, foreign []string)
	// Read returns what the flags and the other sources ask for, and warnings, a sentence
	// each, some with a hint on a line of its own. The flags must be made from Rows, and parsed. The error has all errors of all
	// sources; see [errors.Join].
	Read(flags *config.Flags, src config.Sources) (Wanted, []string, error)
}

// Wanted is a complete and valid set of a policy's options.
type Wanted interface {
	// Arguments returns the options that differ from their defaults, as arguments such as
	// "--excluded-ports=8080", in a fixed order. [Parse] makes the same of them, wherever
	// it runs: users and groups are numbers.
	Arguments() []string
	// Plan returns the plan for a namespace.
	Plan(host.Host) Capture
	// NeedsNameServers reports whether the plan depends on the namespace's name servers.
	// If so, instead is the end of a hint: how to avoid that.
	NeedsNameServers() (needs bool, instead string)
	// NeedsInterfaces reports whether the plan depends on which interfaces there are.
	NeedsInterfaces() bool
	// Found returns what else the plan depends on, besides the options, a line each.
	Found(h host.Host, resolvConf string) []string
	// IDs returns the users and groups that the rules name, by option.
	IDs() []IDs
	// Summarise says what the plan captures, and why it leaves out the rest. It spells out
	// the first listed items of each list, or all if listed is 0.
	Summarise(h host.Host, listed int) Summary
	// TakesFrom returns the interfaces by which packets may come in to addresses that the
	// namespace does not have: those of virtual machines behind it. A trailing "+" matches any
	// rest of a name.
	TakesFrom(h host.Host) []string
	// ListenEverywhere says how to have the proxy listen at every address for what comes to
	// one of its ports; "" if it does by itself.
	ListenEverywhere(port uint16) string
}

// IDs are the users or groups that an option names. A range counts as its first and last.
type IDs struct {
	// Option is the option's name, without dashes.
	Option        string
	Users, Groups []uint32
	// Proxy says that the option is about who the proxy is.
	Proxy bool
}

// ProxyUsers returns the option that says as which users the proxy runs, and these; "" if the
// policy does not know it by its user.
func ProxyUsers(named []IDs) (option string, users []uint32) {
	for _, n := range named {
		if n.Proxy && len(n.Users) > 0 {
			return n.Option, n.Users
		}
	}
	return "", nil
}

// Recognised is what rules say about the options that they come from.
type Recognised struct {
	// Wanted are the options. If a list is too long to be stored with a rule, Wanted has
	// one that makes the same rules.
	Wanted Wanted
	// Refused are the options, such as "--proxy-uid", whose values in the rules are not
	// valid: somebody changed the rules. Wanted has none of these values. It is sorted.
	Refused []string
	// Host has the captured name servers, and nothing else.
	Host host.Host
	// Rules are the given rules, foreign ones included, without our comments. A rule that
	// is as [Wanted.Plan] would write it, in the same chain, has its origin.
	Rules iptables.Ruleset
	// Complete reports whether the options make exactly our rules, in the same order.
	Complete bool
	// Commented reports whether rules have our comments.
	Commented bool
}

// Summary says in words what a plan captures. In each direction the first line that
// matches a connection decides.
type Summary struct {
	// Families are the families whose traffic is captured.
	Families []iptables.Family
	// Mode is how inbound connections get to the proxy, in the policy's words.
	Mode     string
	Inbound  []Line
	Outbound []Line
}

// Line is about one kind of traffic.
type Line struct {
	// What is the traffic, such as "tcp to port 15008".
	What string
	// Port is where the proxy gets it; 0 if it does not.
	Port uint16
	// TProxy says that it gets there by TPROXY, not by REDIRECT.
	TProxy bool
	// Dropped says that it is dropped.
	Dropped bool
	// Why is the option behind it, or the reason.
	Why string
}
