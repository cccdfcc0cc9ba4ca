package pod

import (
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Found is what is installed.
type Found struct {
	kernel.Installed
	// Ours are the backends that have something of ours, the one that was asked for first.
	Ours []installed.Backend
	// Candidates say why the backend that was asked for can be used, or not. It is set with
	// an error too.
	Candidates []kernel.Candidate

	asked kernel.Backend // nil for [kernel.Auto]
}

// Find reads what is installed. A backend that is asked for by name must be available.
// With [kernel.Auto] Find reads them all and chooses none.
func Find(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string) (Found, error) {
	var f Found
	var err error
	if backend == kernel.Auto {
		f.Installed, err = kernel.Read(ctx, ns, own)
	} else {
		err = f.findBy(ctx, ns, own, backend)
	}
	if err != nil {
		return f, err
	}
	f.Ours = f.Own()
	if at := slices.IndexFunc(f.Ours, func(b installed.Backend) bool { return b.Name == backend }); at > 0 {
		first := f.Ours[at]
		f.Ours = slices.Insert(slices.Delete(f.Ours, at, at+1), 0, first)
	}
	return f, nil
}

// FindAll is Find for whoever needs to know of everything that is ours.
func FindAll(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string) (Found, error) {
	f, err := Find(ctx, ns, own, backend)
	if err == nil {
		err = f.Unread
	}
	return f, err
}

func (f *Found) findBy(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string) error {
	choice, err := kernel.Choose(ctx, ns, own, backend, iptables.Plan{})
	f.Candidates = choice.Candidates
	if err != nil {
		return err
	}
	f.asked = choice.Backend
	f.Installed, err = kernel.ReadBy(ctx, ns, choice.Backend)
	return err
}

// InstalledPolicy returns the policy whose rules are installed or, if nothing tells, were
// asked for.
func (f *Found) InstalledPolicy(policies capture.Policies) (p capture.Policy, ok bool) {
	live := f.Live()
	if p, ok := policies.Installed(&live.Rules); ok {
		return p, true
	}
	return f.recordedPolicy(policies)
}

// AskedPolicy returns the policy whose rules were asked for or, if nothing tells, are
// installed.
func (f *Found) AskedPolicy(policies capture.Policies) (p capture.Policy, ok bool) {
	if p, ok := f.recordedPolicy(policies); ok {
		return p, true
	}
	return f.InstalledPolicy(policies)
}

// recordedPolicy returns the only policy that has a record.
func (f *Found) recordedPolicy(policies capture.Policies) (p capture.Policy, ok bool) {
	if len(f.Records) != 1 {
		return nil, false
	}
	for name := range f.Records {
		p, ok = policies.Named(name)
	}
	return p, ok
}

// Live returns the backend to explain: the first that has rules of ours or, if none has,
// the one that would get them.
func (f *Found) Live() installed.Backend {
	if len(f.Ours) > 0 {
		return f.Ours[0]
	}
	return f.expected()
}

// expected returns the backend that was asked for, or the one that would be chosen.
func (f *Found) expected() installed.Backend {
	if f.asked == nil {
		return f.Backend(f.Default())
	}
	b := f.Backend(kernel.FormOf(f.asked))
	b.Name = f.asked.Name()
	return b
}

// Compared returns the backend to compare with the plan: the one that was asked for or, if
// none was, a form of nf_tables that has rules of ours. If the kernel has nf_tables, rules
// in legacy tables are in the wrong place.
func (f *Found) Compared() installed.Backend {
	for _, b := range f.Ours {
		if f.asked == nil && b.Form != installed.Legacy {
			return b
		}
	}
	return f.expected()
}
