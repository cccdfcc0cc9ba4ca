package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// hostOptions say which pods the rule of the node's side is about, and what to do besides
// applying.
type hostOptions struct {
	pods, addPods, removePods podList
	verifyHost                bool
}

func (o *options) hostRows() []config.Row {
	o.every = hostEvery
	rows := []config.Row{
		{Option: config.Option{
			Name: "pods", Example: "10.244.1.7,10.244.1.8",
			Usage: "addresses of the pods in the mesh: the set then has exactly these, or none",
		}, Value: &o.pods},
		{Option: config.Option{
			Name: "add-pods", Example: "10.244.1.9",
			Usage: "addresses of pods to add to the set",
		}, Value: &o.addPods},
		{Option: config.Option{
			Name: "remove-pods", Example: "10.244.1.9",
			Usage: "addresses of pods to take out of the set",
		}, Value: &o.removePods},
		{Option: config.Option{
			Name: "verify", FlagOnly: true,
			Usage: "change nothing; compare what is installed with these options or, without any, with what was asked for",
		}, Value: config.Bool(&o.verifyHost)},
		{Option: config.Option{
			Name: "watch", FlagOnly: true,
			Usage: "apply, and stay: put back at once what somebody takes away",
		}, Value: config.Bool(&o.watch)},
		{Option: config.Option{
			Name: "every", FlagOnly: true,
			Usage: "with --watch, compare so often too: the kernel reports no changes of legacy tables and of ipsets",
		}, Value: newEvery(&o.every)},
		{Option: config.Option{
			Name: "ready-address", FlagOnly: true,
			Usage: "with --watch, answer HTTP requests at this address: 200 if everything is as wanted, else 503 and why",
		}, Value: config.AddrPort(&o.readyAddress)},
	}
	for _, row := range o.applyOptions.rows() {
		if slices.Contains([]string{"dry-run", "cleanup-only", "replace-dataplane"}, row.Name) {
			rows = append(rows, row)
		}
	}
	return rows
}

// podList is a list of addresses that may be given and empty.
type podList struct {
	addresses []netip.Addr
	given     bool
}

func (l *podList) list() config.List[netip.Addr] {
	return config.List[netip.Addr]{
		Target: &l.addresses, Kind: "addresses", Must: "addresses such as 10.244.1.7",
		Parse: parsePod, Print: netip.Addr.String,
	}
}

func (l *podList) Set(text string) error { l.given = true; return l.list().Set(text) }
func (l *podList) String() string        { return l.list().String() }
func (l *podList) Type() string          { return l.list().Type() }

func parsePod(word string) (netip.Addr, error) { return config.ParseHost(word, "a pod") }

// hostEvery is how often --watch compares.
const hostEvery = 10 * time.Second

// checkHost returns an error if options contradict each other.
func (c *command) checkHost() error {
	errs := []error{c.hostOptions.checkPods()}
	var asked []string
	for _, run := range []struct {
		name string
		on   bool
	}{{"--dry-run", c.dryRun}, {"--cleanup-only", c.cleanupOnly}, {"--verify", c.verifyHost}, {"--watch", c.watch}} {
		if run.on {
			asked = append(asked, run.name)
		}
	}
	if len(asked) > 1 && !(len(asked) == 2 && c.dryRun && c.cleanupOnly) {
		errs = append(errs, fmt.Errorf("%s: must not be given together", iptables.Enumerate(asked)))
	}
	for _, name := range []string{"every", "ready-address"} {
		if given := c.line.flags.Given(name); given != "" && !c.watch {
			errs = append(errs, fmt.Errorf("%s: has no meaning without --watch", given))
		}
	}
	return errors.Join(errs...)
}

// checkPods returns an error if the lists contradict each other.
func (o *hostOptions) checkPods() error {
	if o.pods.given && (o.addPods.given || o.removePods.given) {
		return errors.New("--pods: must come without --add-pods and --remove-pods, because it names all")
	}
	for _, a := range o.addPods.addresses {
		if slices.Contains(o.removePods.addresses, a) {
			return fmt.Errorf("--add-pods and --remove-pods: must not both have %s", a)
		}
	}
	return nil
}

// given reports whether any of the lists is given.
func (o *hostOptions) given() bool { return o.pods.given || o.addPods.given || o.removePods.given }

// after returns the pods of the sets when they have changed.
func (o *hostOptions) after(have []iptables.AddressSet) []netip.Addr {
	if o.pods.given {
		return o.pods.addresses
	}
	var all []netip.Addr
	for _, s := range have {
		all = append(all, s.Addresses...)
	}
	return slices.DeleteFunc(append(all, o.addPods.addresses...), func(a netip.Addr) bool { return slices.Contains(o.removePods.addresses, a) })
}

// words returns the options about pods as arguments.
func (o *hostOptions) words() []string {
	var words []string
	for _, l := range []struct {
		name string
		list *podList
	}{{"pods", &o.pods}, {"add-pods", &o.addPods}, {"remove-pods", &o.removePods}} {
		if l.list.given {
			words = append(words, "--"+l.name+"="+l.list.String())
		}
	}
	return words
}

// sets returns what the sets of a plan are to hold.
func (o *hostOptions) sets(p *pod.Plan) func(have []iptables.AddressSet) []iptables.AddressSet {
	return func(have []iptables.AddressSet) []iptables.AddressSet {
		return p.Wanted.(node.Config).Pods(p.Host, o.after(have))
	}
}

// host keeps the node's side of ambient mode. It is for the host's own network namespace.
func (c *command) host(ctx context.Context) int {
	if err := c.checkHost(); err != nil {
		return c.usageError(err)
	}
	switch {
	case c.cleanupOnly && c.dryRun:
		return c.printRemoval(ctx)
	case c.cleanupOnly:
		return c.cleanup(ctx)
	case c.dryRun:
		return c.printPlan(ctx)
	case c.verifyHost:
		v, status := c.compare(ctx, c.hostOptions.sets)
		if status != exitDone {
			return status
		}
		return c.printComparison(v)
	}
	how := c.applying()
	p, status := c.hostPlan(ctx, &how)
	if status != exitDone {
		return status
	}
	if c.watch {
		return c.watchHost(ctx, &p, how)
	}
	answer := outcome{Families: pod.FamilyNames(p.Rules.Families)}
	p.Sets = c.hostOptions.sets(&p)
	if err := c.installPlan(ctx, &p, how, &answer); err != nil {
		return c.failed(err)
	}
	return c.print(answer)
}

// hostPlan returns the plan of the options or, if there are none about rules, of those that
// were asked for last. Where pods are given, these stay where they are: who changes the set
// need not know them.
func (c *command) hostPlan(ctx context.Context, how *pod.Applying) (p pod.Plan, status int) {
	if p, status = c.plan(ctx); status != exitDone || c.asksForCapture() {
		return p, status
	}
	f, err := pod.Find(ctx, c.namespace, policies().Ownership(), c.backend)
	if err != nil {
		return p, c.failed(err)
	}
	installed, ok := f.InstalledPolicy(how.Policies)
	if ok && installed == p.Policy && (c.hostOptions.given() || c.watch) && how.Backend == kernel.Auto {
		how.Backend = f.Live().Name
	}
	if p, _, err = f.PlanAsked(ctx, c.namespace, how.Policies, p.Policy, p.Wanted); err != nil {
		return p, c.failed(err)
	}
	return p, exitDone
}
