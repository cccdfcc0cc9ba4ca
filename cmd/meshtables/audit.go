package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/node"
	"github.com/meshtables/meshtables/iptables/pod"
)

// auditVerb is the name of the verb audit.
const auditVerb = "audit"

// node is the machine, as far as options say where to look.
func (c *command) node() node.Node {
	n := node.Default()
	n.Cache, n.Networks = c.cniCache, c.networks
	return n
}

// audit says whether every pod of the machine is captured as it asks to be, and repairs what
// is not.
func (c *command) audit(ctx context.Context) int {
	if err := c.checkAudit(); err != nil {
		return c.usageError(err)
	}
	if c.every == 0 {
		return c.auditOnce(ctx)
	}
	for {
		c.auditOnce(ctx)
		select {
		case <-ctx.Done():
			return exitDone
		case <-time.After(c.every):
		}
	}
}

func (c *command) checkAudit() error {
	var errs []error
	if c.networkNamespace != "" {
		errs = append(errs, fmt.Errorf("%s: audit looks at all network namespaces; name one by its pod, with --pod", c.line.flags.Given(namespaceOption)))
	}
	if c.dryRun && !c.repair {
		errs = append(errs, errors.New("--dry-run: without --repair nothing is changed"))
	}
	return errors.Join(errs...)
}

// auditOnce audits and prints the answer.
func (c *command) auditOnce(ctx context.Context) int {
	machine := c.node()
	settings, err := machine.Settings(podPolicies())
	if err != nil {
		return c.failed(err)
	}
	bar := newProgress(c.stderr)
	a := node.Auditor{
		Node: machine, Policies: podPolicies(), Host: hostSide(), Settings: settings,
		Verbose: c.verbose, Progress: bar.tell,
	}
	switch {
	case c.repair && c.dryRun:
		a.Repair = node.OnlyTell
	case c.repair:
		a.Repair = node.DoRepair
	}
	var only []string
	if c.pod != "" {
		only = []string{string(c.pod)}
	}
	run, err := a.Audit(ctx, only...)
	bar.end()
	if err != nil {
		return c.failed(fmt.Errorf("failed to audit: %w", err))
	}
	if c.pod == "" {
		run.Host = a.AuditHost(ctx, run.Reports)
	}
	answer := newAudited(&run, c.verbose)
	answer.onePod = c.pod != ""
	if c.pod != "" && len(run.Reports) > 0 && run.Reports[0].Rules > 0 && run.Reports[0].Sandbox == nil && c.output != outputOpenMetrics {
		c.live = true
		explained, status := c.overview(ctx)
		if status != exitDone {
			return status
		}
		answer.Explained = &explained
	}
	if failed := c.printAudit(answer, &run); failed != exitDone {
		return failed
	}
	return answer.status()
}

// hostSide is what the audit has to know of the node's side.
func hostSide() node.HostSide {
	return node.HostSide{
		Policy: ofNode.policy(), Pods: ofAmbient.policy(),
		Sets: func(pods []netip.Addr) pod.SetsOf {
			return (&hostOptions{addPods: podList{addresses: pods}}).sets
		},
		Command: func(v *pod.Verification, pods []netip.Addr) string {
			return shellWords((&command{options: options{backend: kernel.Auto, hostOptions: hostOptions{addPods: podList{pods, len(pods) > 0}}}}).mending(v))
		},
	}
}

// printAudit prints the answer, or writes it to a file.
func (c *command) printAudit(a audited, run *node.Run) int {
	text := func(w io.Writer) {
		switch c.output {
		case outputOpenMetrics:
			node.WriteMetrics(w, run)
		case outputJSON:
			writeJSON(w, a)
		default:
			a.text(w)
		}
	}
	if c.outputFile == "" {
		return c.write(text)
	}
	if err := writeFileAtOnce(c.outputFile, text); err != nil {
		return c.failed(fmt.Errorf("failed to write the answer: %w", err))
	}
	return exitDone
}

// writeFileAtOnce puts a file in the place of another, so that whoever reads it has the old one
// or the new one, whole.
func writeFileAtOnce(path string, text func(io.Writer)) (err error) {
	var b bytes.Buffer
	text(&b)
	f, err := os.CreateTemp(filepath.Dir(path), ".meshtables-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b.Bytes())
	// The exporter runs as another user.
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// audited is the answer of audit.
type audited struct {
	// Result is "as wanted" or "different".
	Result string `json:"result"`
	// Host is about the node's own network namespace.
	Host *node.HostReport `json:"host,omitempty"`
	Pods []node.Report    `json:"pods"`
	// States are numbers of pods by their states.
	States []stateCount `json:"states"`
	// Interceptors are BPF programs of others on the way of several captured pods.
	Interceptors *node.Interceptors `json:"interceptors,omitempty"`
	// Explained is what the rules of the one pod do.
	Explained *overview `json:"explained,omitempty"`

	// verbose says more about every pod, and onePod more about the only one.
	verbose, onePod bool
}

type stateCount struct {
	State node.State `json:"state"`
	Pods  int        `json:"pods"`
}

func newAudited(run *node.Run, verbose bool) audited {
	a := audited{Result: "as wanted", Host: run.Host, Pods: run.Reports, States: []stateCount{}, Interceptors: run.Interceptors, verbose: verbose}
	isBad := func(r node.Report) bool { return r.IsBad() }
	if slices.ContainsFunc(run.Reports, isBad) || run.Host != nil && run.Host.State.IsBad() {
		a.Result = "different"
	}
	for _, s := range node.States() {
		n := 0
		for i := range run.Reports {
			if run.Reports[i].State == s {
				n++
			}
		}
		a.States = append(a.States, stateCount{s, n})
	}
	return a
}

func (a *audited) status() int {
	return cmp.Or(map[string]int{"different": exitDifferent}[a.Result], exitDone)
}
