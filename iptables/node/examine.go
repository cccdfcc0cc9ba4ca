package node

import (
	"context"
	"errors"
	"net/netip"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/pod"
)

// examination is looking at one pod.
type examination struct {
	auditor *Auditor
	ctx     context.Context
	ns      *namespace.Namespace
	pod     Pod
	wish    wish
	report  *Report
	// plan is what the pod asks for, once that is known. compared is how the rules differ.
	plan     *pod.Plan
	compared pod.Verification
}

// examine looks at a pod and, if the auditor repairs, repairs it. The error is errGone if the
// pod has ended, or was none; everything else is in the report.
func (a *Auditor) examine(ctx context.Context, p *Pod) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ns, err := p.Open()
	if errors.Is(err, errGone) {
		return Report{}, err
	}
	if err != nil {
		r := p.newReport()
		r.fail(Failed, err)
		return r, nil
	}
	defer ns.Close()
	x := a.look(ctx, ns, p)
	if x.isBesideSandbox() {
		return Report{}, errGone
	}
	if a.Repair != LeaveAlone && x.repair() {
		done := x.report.Repair
		x = a.look(ctx, ns, p)
		x.report.Repair = done
	}
	return *x.report, nil
}

func (p *Pod) newReport() Report {
	r := Report{Namespace: p.Namespace, Name: p.Name, File: p.File, FoundIn: p.FoundIn}
	r.complete()
	return r
}

// complete makes lists of what JSON has as lists.
func (r *Report) complete() {
	r.Addresses, r.Forms, r.Problems = []string{}, []installedForm{}, []Problem{}
}

// look looks at a pod and changes nothing.
func (a *Auditor) look(ctx context.Context, ns *namespace.Namespace, p *Pod) *examination {
	r := p.newReport()
	x := &examination{auditor: a, ctx: ctx, ns: ns, report: &r}
	there, err := host.Addresses(ctx, ns)
	if err != nil {
		r.fail(Failed, err)
		return x
	}
	for _, t := range there {
		if address := t.Addr(); isShown(address) && len(r.Addresses) < cache.MaxAddresses {
			r.Addresses = append(r.Addresses, address.String())
		}
	}
	var ok bool
	if x.pod, ok = p.settle(there); !ok {
		r.fail(TwoPods, errors.New("libcni's cache gives this network namespace to several pods that ask for different things: "+p.names()))
		return x
	}
	r.Namespace, r.Name = x.pod.Namespace, x.pod.Name
	if x.wish, err = a.wishOf(&x.pod); err != nil {
		r.fail(BadAnnotation, err)
		return x
	}
	r.Why = x.wish.why
	if err := x.compare(); err != nil {
		r.fail(Failed, err)
	}
	x.lookBeside()
	return x
}

// isShown reports whether an address tells a pod from others.
func isShown(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && a != netip.MustParseAddr("::6")
}

// compare compares what is installed with what the pod asks for.
func (x *examination) compare() error {
	found, err := x.find()
	if x.report.Sandbox = x.auditor.Node.sandboxOf(x.pod.processes); x.report.Sandbox != nil {
		x.judgeSandboxed(&found)
		return nil
	}
	if err != nil {
		return err
	}
	x.describe(&found)
	switch p := x.wish.policy; {
	case p != nil:
		x.name(p)
		err = x.compareWanted(&found)
	case x.wish.known:
		err = x.compareWithNothing(&found)
	default:
		err = x.compareWithItself(&found)
	}
	if !x.auditor.Verbose {
		x.report.Verification = nil
	}
	return err
}

// find reads what is installed. If rules are in the legacy tables only, it reads them as those
// that were asked for: they work as well.
func (x *examination) find() (pod.Found, error) {
	own := x.auditor.Policies.Ownership()
	found, err := pod.Find(x.ctx, x.ns, own, kernel.Auto)
	if err == nil && len(found.Ours) == 1 && found.Ours[0].Name == kernel.Legacy {
		found, err = pod.Find(x.ctx, x.ns, own, kernel.Legacy)
	}
	if err == nil {
		err = found.Unread
	}
	return found, err
}

// describe says what rules there are.
func (x *examination) describe(found *pod.Found) {
	r := x.report
	var traffic Traffic
	for _, b := range found.Ours {
		own := b.Own()
		r.Forms = append(r.Forms, installedForm(b.Name))
		r.Rules += own.Len()
		t := CountTraffic(&own)
		traffic.In.add(t.In)
		traffic.Out.add(t.Out)
	}
	if r.Rules > 0 {
		r.Traffic = &traffic
	}
}

func (c *Counts) add(other Counts) {
	c.Captured += other.Captured
	c.Bypassed += other.Bypassed
}

// compareWanted compares with what the annotations ask for.
func (x *examination) compareWanted(found *pod.Found) error {
	wanted, source, err := x.options(found)
	if err != nil {
		x.report.fail(BadAnnotation, err)
		return nil
	}
	p, err := pod.NewPlan(x.ctx, x.ns, x.wish.policy, wanted)
	if err != nil {
		return err
	}
	x.plan = &p
	if x.compared, err = pod.Verify(x.ctx, x.ns, found, x.auditor.Policies, &p); err != nil {
		return err
	}
	x.report.Source = source
	x.judge(found)
	return x.lookForProxy()
}

// compareWithNothing is for a pod outside the mesh: nothing of ours should be there, unless the
// pod has a proxy that nobody has told the annotations of.
func (x *examination) compareWithNothing(found *pod.Found) error {
	r := x.report
	r.State = NotInMesh
	if len(found.Ours) == 0 {
		return nil
	}
	served, err := x.isServed(found)
	if err != nil {
		return err
	}
	if served {
		r.Why += "; but a proxy listens where its rules send traffic"
		return x.compareWithItself(found)
	}
	r.State = Different
	text := "rules are left in a pod outside the mesh"
	if r.Rules == 0 {
		text = "empty chains are left in a pod outside the mesh"
	}
	r.add(Leftovers, text, "to remove them: meshtables --cleanup-only --network-namespace="+x.pod.File)
	x.nameInstalled(found)
	return nil
}

// isServed reports whether sockets are where the installed rules send traffic.
func (x *examination) isServed(found *pod.Found) (bool, error) {
	l, err := host.ReadListeners(x.ns)
	if err != nil {
		return false, err
	}
	var ports []port
	for _, b := range found.Ours {
		ports = append(ports, portsOf(b.Own())...)
	}
	return len(ports) > 0 && silent(l, ports) == "", nil
}

// compareWithItself is for a pod whose annotations nobody knows: are the rules those that were
// asked for when they were applied?
func (x *examination) compareWithItself(found *pod.Found) error {
	r := x.report
	r.State = NotInMesh
	p := x.nameInstalled(found)
	if p == nil {
		p = x.nameRecorded(found)
	}
	if p == nil {
		return nil
	}
	var err error
	if x.compared, err = pod.VerifyAsked(x.ctx, x.ns, found, x.auditor.Policies, p, nil, nil); err != nil {
		return err
	}
	x.report.Source = x.compared.Source
	x.judge(found)
	return nil
}

// nameInstalled names the policy whose rules are there, and returns it; nil if there are none.
func (x *examination) nameInstalled(found *pod.Found) capture.Policy {
	for _, b := range found.Ours {
		if p, ok := x.auditor.Policies.Installed(&b.Rules); ok {
			return x.name(p)
		}
	}
	return nil
}

// nameRecorded names the policy that is recorded as asked for, and returns it; nil if there is no
// record.
func (x *examination) nameRecorded(found *pod.Found) capture.Policy {
	for _, p := range x.auditor.Policies {
		if found.Asked(p).Wanted != nil {
			return x.name(p)
		}
	}
	return nil
}

// name names a policy in the report, and returns it.
func (x *examination) name(p capture.Policy) capture.Policy {
	x.report.Mesh, x.report.Dataplane = p.Mesh(), p.Dataplane()
	return p
}

// lookForProxy looks whether sockets are where the plan sends traffic, and whose they are.
func (x *examination) lookForProxy() error {
	l, err := host.ReadListeners(x.ns)
	if err != nil {
		return err
	}
	rules := kernel.InForm(installed.NFT, x.plan.Rules)
	ports := portsOf(rules)
	why := silent(l, ports)
	listening := why == "" && len(x.compared.Unheard) == 0
	x.report.Listening = &listening
	if why != "" {
		x.report.add(NotListening, why, "")
	}
	return x.compareUsers(l, &rules, ports)
}
