package node

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/pod"
)

// State says whether a pod is captured as it asks to be.
type State string

// The states.
const (
	Uncaptured State = "uncaptured"  // it asks to be captured, and has no rules
	Different  State = "different"   // there are rules, and not as wanted, or foreign ones are in the way
	Unreadable State = "unreadable"  // nobody can tell
	Sandboxed  State = "sandboxed"   // it asks to be captured, and its network stack is that of its sandbox
	AsWanted   State = "as-wanted"   // captured as it asks to be
	NotInMesh  State = "not-in-mesh" // it does not ask to be captured, and is not
)

// States returns all states, the worst first.
func States() []State {
	return []State{Uncaptured, Different, Unreadable, Sandboxed, AsWanted, NotInMesh}
}

// IsBad reports whether the state by itself says that somebody has to do something.
func (s State) IsBad() bool { return s == Uncaptured || s == Different || s == Unreadable }

// Kind is a kind of [Problem].
type Kind string

// The kinds.
const (
	NoRules       Kind = "no-rules"            // nothing of ours is installed
	OtherMesh     Kind = "other-dataplane"     // the rules are those of another dataplane
	Drift         Kind = "drift"               // our rules are not the wanted ones
	Routing       Kind = "routing"             // addresses, routes or ip rules of ours are not the wanted ones
	Setting       Kind = "sysctl"              // a setting of the kernel is not the wanted one
	TwoForms      Kind = "two-forms"           // rules of ours are in more than one form
	ForeignRules  Kind = "foreign-rules"       // foreign rules keep traffic from the proxy
	PolicyDrops   Kind = "policy-drops"        // a chain drops traffic by its policy
	NotListening  Kind = "proxy-not-listening" // no socket is where the rules send traffic
	ProxyUser     Kind = "proxy-user"          // the rules capture what the proxy sends: it runs as another user
	InSandbox     Kind = "sandbox"             // rules of the node do nothing, and nobody has said that others are inside
	Intercepted   Kind = "interceptors"        // BPF programs of others may rewrite or redirect its traffic
	ProbeSet      Kind = "probe-set"           // the sets of the node's side are not the wanted ones
	Leftovers     Kind = "leftovers"           // rules are left in a pod outside the mesh
	TwoPods       Kind = "two-pods"            // the cache gives the namespace to several pods
	BadAnnotation Kind = "annotations"         // the pod's annotations cannot be read
	BadEntry      Kind = "cache-entry"         // an entry of the cache cannot be read
	Failed        Kind = "failed"              // something could not be read
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{
		NoRules, OtherMesh, Drift, Routing, Setting, TwoForms, ForeignRules, PolicyDrops, NotListening, ProxyUser,
		InSandbox, Intercepted, ProbeSet, Leftovers, TwoPods, BadAnnotation, BadEntry, Failed,
	}
}

// Problem is something that is wrong with a pod.
type Problem struct {
	Kind Kind `json:"kind"`
	// Text says it in a few words.
	Text string `json:"text"`
	// Hint says what to do about it, if repairing does not.
	Hint string `json:"hint,omitempty"`
}

// Report is what the audit says about a pod.
type Report struct {
	// Namespace and Name are empty if nobody knows whose network namespace it is.
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	State     State    `json:"state"`
	Addresses []string `json:"addresses"`
	// Mesh and Dataplane are those that the pod asks for or, if it asks for none, those whose
	// rules it has.
	Mesh      string `json:"mesh,omitempty"`
	Dataplane string `json:"dataplane,omitempty"`
	// Forms are the forms in which rules of ours are.
	Forms    []installedForm `json:"forms"`
	Rules    int             `json:"rules"`
	Problems []Problem       `json:"problems"`
	// Why says why the pod is captured, or why not.
	Why string `json:"why,omitempty"`
	// Source says where the options come from that are compared with.
	Source string `json:"source,omitempty"`
	// Options are those, as arguments.
	Options []string `json:"options,omitempty"`
	Traffic *Traffic `json:"traffic,omitempty"`
	// Listening says whether sockets are where the rules send traffic.
	Listening *bool `json:"listening,omitempty"`
	// Exempt are processes besides the proxy whose traffic the rules leave alone; nil if there
	// are none.
	Exempt *Exempt `json:"exempt,omitempty"`
	// Sandbox is who has the pod's network stack, if that is not the one of its namespace.
	Sandbox *Sandbox `json:"sandbox,omitempty"`
	// File is a file of the network namespace, or the entry of the cache that cannot be read.
	File    string   `json:"file"`
	FoundIn []Source `json:"foundIn"`
	// Verification is what verify says, if the audit has compared.
	Verification *pod.Verification `json:"verification,omitempty"`
	Repair       *Repair           `json:"repair,omitempty"`

	// beside is what others run beside the rules.
	beside interceptor.Found
}

// String returns NAMESPACE/NAME, or the file if nobody knows whose it is.
func (r *Report) String() string {
	if r.Name == "" {
		return r.File
	}
	return r.Namespace + "/" + r.Name
}

// Has reports whether a pod has a problem of a kind.
func (r *Report) Has(k Kind) bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == k })
}

// IsBad reports whether somebody has to do something.
func (r *Report) IsBad() bool { return r.State.IsBad() || r.Has(InSandbox) }

// add adds a problem. Many problems with one hint read better with one.
func (r *Report) add(k Kind, text, hint string) {
	if slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Hint == hint }) {
		hint = ""
	}
	r.Problems = append(r.Problems, Problem{k, text, hint})
}

// fail says that nobody can tell what the pod is like.
func (r *Report) fail(k Kind, err error) {
	r.State = Unreadable
	text, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	r.add(k, text, hint)
}

// rank orders reports: the worst state first, and what has problems before what has none.
func (r *Report) rank() int {
	rank := 2 * slices.Index(States(), r.State)
	if len(r.Problems) == 0 {
		rank++
	}
	return rank
}

// worstFirst orders reports. Those whose pod nobody knows come last among their like.
func worstFirst(a, b *Report) int {
	named := func(r *Report) int { return min(1, len(r.Name)) }
	return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(named(b), named(a)),
		cmp.Compare(a.String(), b.String()), cmp.Compare(a.File, b.File))
}
