package main

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
)

// dataplaneOption names the policy, by its dataplane.
const dataplaneOption = "dataplane-mode"

// dataplane is the way in which a mesh gets at the traffic of a pod. Each has a policy.
// Nothing else in the program names one.
type dataplane string

const (
	ofSidecars dataplane = sidecar.Name
	ofAmbient  dataplane = ambient.Name
	// ofNode is the node's side of ambient mode, which has a verb of its own.
	ofNode dataplane = node.Name
)

// hostVerb is the verb of the node's side.
const hostVerb = "host"

// dataplanes returns those of pods, the default first.
func dataplanes() []dataplane { return []dataplane{ofSidecars, ofAmbient} }

func (d dataplane) policy() capture.Policy {
	switch d {
	case ofAmbient:
		return ambient.Policy{}
	case ofNode:
		return node.Policy{}
	}
	return sidecar.Policy{}
}

// mesh returns the name of the mesh.
func (d dataplane) mesh() string { return "istio" }

// words returns the arguments that choose the dataplane when applying.
func (d dataplane) words() []string {
	switch d {
	case ofSidecars:
		return nil
	case ofNode:
		return []string{hostVerb}
	}
	return []string{"--" + dataplaneOption + "=" + string(d)}
}

// policies returns all that there are. What none of them owns is not ours.
func policies() capture.Policies {
	var all capture.Policies
	for _, d := range append(dataplanes(), ofNode) {
		all = append(all, d.policy())
	}
	return all
}

// everyRow returns the options of every policy, each name once: it means the same in each.
func everyRow() []config.Row {
	var rows []config.Row
	for _, p := range policies() {
		for _, row := range p.Options().Rows() {
			if !slices.ContainsFunc(rows, func(r config.Row) bool { return r.Name == row.Name }) {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// mentionOthers tells flags of the options that only other dataplanes have.
func (d dataplane) mentionOthers(flags *config.Flags) {
	for _, other := range dataplanes() {
		flags.Mention(func() []config.Option {
			var options []config.Option
			own := flags.Options()
			for _, row := range other.policy().Options().Rows() {
				if !slices.ContainsFunc(own, func(o config.Option) bool { return o.Name == row.Name }) {
					options = append(options, row.Option)
				}
			}
			return options
		}, "it is an option of --"+dataplaneOption+"="+string(other))
	}
}

// chosenDataplane returns the dataplane that the command line, the environment, the
// configuration file or the pod's annotations name. It has to be known before the command
// line is parsed, because each policy has options of its own. So this reads the options of
// all policies, and leaves errors to the second reading. Files are read once.
func chosenDataplane(v verb, args, env []string, read files) dataplane {
	if v.name == hostVerb {
		return ofNode
	}
	if !mayChoose(args, env) {
		return ofSidecars
	}
	c := newCommandLineOf(v, everyRow())
	c.files = read
	_ = c.parse(v, args)
	_ = c.addFile(env)
	_ = c.flags.Apply(env)
	if c.flags.Given(dataplaneOption) != "" || c.options.annotations == "" {
		return c.options.dataplane
	}
	file, err := read.read(c.options.annotations)
	if err != nil {
		return c.options.dataplane
	}
	src := config.Sources{Annotations: file}
	annotations, _ := src.AllAnnotations()
	if d, err := ofAmbient.policy().Decide(annotations); err == nil && d.Captured {
		return ofAmbient
	}
	return c.options.dataplane
}

// mayChoose reports whether any of the arguments or variables may name a dataplane, or a file
// that does. Most runs have none, and need not read twice.
func mayChoose(args, env []string) bool {
	for _, option := range []string{dataplaneOption, config.FileOption, annotationsOption} {
		named := func(arg string) bool {
			return strings.Contains(strings.ReplaceAll(strings.ToLower(arg), "_", "-"), option)
		}
		if slices.ContainsFunc(args, named) {
			return true
		}
		for _, variable := range (config.Option{Name: option}).Variables() {
			if slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, variable+"=") }) {
				return true
			}
		}
	}
	return false
}

// installedPolicy returns the policy whose rules are installed. If nothing tells, or the user
// names one, it is that of the command line.
func (c *command) installedPolicy(rules *iptables.Ruleset) capture.Policy {
	return c.policyOr(policies().Installed(rules))
}

// policyOr returns the policy that was found, unless the user names one or none was found.
func (c *command) policyOr(found capture.Policy, ok bool) capture.Policy {
	if !ok || c.line.flags.Given(dataplaneOption) != "" {
		return c.line.policy
	}
	return found
}
