package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
)

// The options that name the policy: by its mesh, and by the mesh's dataplane.
const (
	meshOption      = "mesh"
	dataplaneOption = "dataplane-mode"
)

// dataplane is the way in which a mesh gets at the traffic of a pod. Each has a policy.
// Nothing else in the program names one.
type dataplane string

const (
	ofSidecars dataplane = sidecar.Name
	ofAmbient  dataplane = ambient.Name
	ofLinkerd  dataplane = linkerd.Name
	// ofNode is the node's side of ambient mode, which has a verb of its own.
	ofNode dataplane = node.Name
)

// The meshes, by their names for --mesh.
const (
	istioMesh   = "istio"
	linkerdMesh = linkerd.Name
)

// hostVerb is the verb of the node's side. The others are words before the arguments of the
// references.
const (
	hostVerb    = "host"
	istioVerb   = "istio-iptables"
	linkerdVerb = "linkerd-init"
)

// dataplanes returns those of pods, the default first.
func dataplanes() []dataplane { return []dataplane{ofSidecars, ofAmbient, ofLinkerd} }

// modes returns the values of --dataplane-mode.
func modes() []dataplane { return []dataplane{ofSidecars, ofAmbient} }

func (d dataplane) policy() capture.Policy {
	switch d {
	case ofAmbient:
		return ambient.Policy{}
	case ofLinkerd:
		return linkerd.Policy{}
	case ofNode:
		return node.Policy{}
	}
	return sidecar.Policy{}
}

// words returns the arguments that choose the dataplane when applying.
func (d dataplane) words() []string {
	switch d {
	case ofSidecars:
		return nil
	case ofNode:
		return []string{hostVerb}
	case ofLinkerd:
		return []string{"--" + meshOption + "=" + linkerdMesh}
	}
	return []string{"--" + dataplaneOption + "=" + string(d)}
}

// policies returns all that there are. What none of them owns is not ours.
func policies() capture.Policies { return append(podPolicies(), ofNode.policy()) }

// podPolicies returns those of pods.
func podPolicies() capture.Policies {
	var all capture.Policies
	for _, d := range dataplanes() {
		all = append(all, d.policy())
	}
	return all
}

// everyRow returns the options of every policy, each name once, with all its names. It takes a
// value in all of them, or in none, though letters may differ: the first policy's count.
func everyRow() []config.Row {
	var rows []config.Row
	for _, p := range policies() {
		for _, row := range p.Options().Rows() {
			at := slices.IndexFunc(rows, func(r config.Row) bool { return r.Name == row.Name })
			if at < 0 {
				rows = append(rows, row)
				continue
			}
			if rows[at].FlagNames == nil {
				rows[at].FlagNames = row.FlagNames
			}
		}
	}
	return rows
}

// mentionOthers tells flags of the options that only other dataplanes have, and of names that
// options have only there.
func (d dataplane) mentionOthers(flags *config.Flags) {
	for _, other := range dataplanes() {
		if other == d {
			continue
		}
		flags.Mention(func() []config.Option {
			var options []config.Option
			own := flags.Options()
			for _, row := range other.policy().Options().Rows() {
				isOwn := func(o config.Option) bool { return o.Name == row.Name }
				if row.Refused == "" && (!slices.ContainsFunc(own, isOwn) || other.policy().Mesh() != d.policy().Mesh()) {
					options = append(options, row.Option)
				}
			}
			return options
		}, "it is an option of "+other.chosenBy())
	}
}

// chosenBy returns the option that chooses the dataplane.
func (d dataplane) chosenBy() string {
	if words := d.words(); words != nil {
		return words[0]
	}
	return "--" + meshOption + "=" + istioMesh
}

// choice is what the command line, the environment, the configuration file or the pod's
// annotations say about the dataplane.
type choice struct {
	dataplane dataplane
	// named says that the user names it, not the annotations.
	named bool
}

// chosenDataplane returns the dataplane. It has to be known before the command line is
// parsed, because each policy has options and letters of its own. So this reads the options
// of all policies, and leaves errors to the second reading. Files are read once.
func chosenDataplane(v verb, args, env []string, read files) choice {
	switch v.name {
	case hostVerb:
		return choice{ofNode, true}
	case linkerdVerb:
		return choice{ofLinkerd, true}
	}
	byNames := v.name != istioVerb && namesLinkerd(args)
	switch {
	case !mayChoose(args, env) && byNames:
		return choice{ofLinkerd, true}
	case !mayChoose(args, env):
		return choice{ofSidecars, false}
	}
	c := newCommandLineOf(v, everyRow())
	c.files = read
	_ = c.parse(v, args)
	_ = c.addFile(env)
	_ = c.flags.Apply(env)
	o := &c.options
	switch {
	case byNames && !c.set.Changed(meshOption):
		return choice{ofLinkerd, true}
	case c.flags.Given(meshOption) != "" && o.mesh == linkerdMesh:
		return choice{ofLinkerd, true}
	case c.flags.Given(dataplaneOption) != "":
		return choice{o.dataplane, true}
	case o.annotations == "":
		return choice{o.dataplane, c.flags.Given(meshOption) != ""}
	}
	return choice{c.annotatedDataplane(), c.flags.Given(meshOption) != ""}
}

// annotatedDataplane returns the dataplane that the annotations in the file ask for, of the mesh
// if that is given.
func (c *commandLine) annotatedDataplane() dataplane {
	file, err := c.files.read(c.options.annotations)
	if err != nil {
		return ofSidecars
	}
	src := config.Sources{Annotations: file}
	annotations, _ := src.AllAnnotations()
	for _, d := range []dataplane{ofAmbient, ofLinkerd} {
		if c.flags.Given(meshOption) != "" && d.policy().Mesh() != c.options.mesh {
			continue
		}
		if decision, err := d.policy().Decide(annotations); err == nil && decision.Captured {
			return d
		}
	}
	return ofSidecars
}

// mayChoose reports whether any of the arguments or variables may name a dataplane, or a file
// that does. Most runs have none, and need not read twice.
func mayChoose(args, env []string) bool {
	for _, option := range []string{meshOption, dataplaneOption, config.FileOption, annotationsOption} {
		named := func(arg string) bool {
			name := strings.ReplaceAll(strings.ToLower(arg), "_", "-")
			return strings.HasPrefix(name, "-") && strings.HasPrefix(strings.TrimLeft(name, "-"), option)
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

// checkMesh returns an error if the verb or the mesh and the other options contradict each
// other.
func (c *commandLine) checkMesh(v verb) error {
	mesh, mode := c.flags.Given(meshOption), c.flags.Given(dataplaneOption)
	switch {
	case v.name == linkerdVerb && mesh != "" && c.options.mesh != linkerdMesh:
		return fmt.Errorf("%s and %s: must not contradict each other", v.name, mesh)
	case v.name == hostVerb && mesh != "" && c.options.mesh == linkerdMesh:
		return fmt.Errorf("%s: has no meaning for %s, which keeps the node's side of Istio's ambient mode", mesh, v.name)
	case c.dataplane == ofLinkerd && mode != "" && c.options.dataplane != ofSidecars:
		return fmt.Errorf("%s: has no meaning for Linkerd, whose proxies are sidecars", mode)
	}
	return nil
}

// installedPolicy returns the policy whose rules are installed. If nothing tells, or the user
// names one, it is that of the command line.
func (c *command) installedPolicy(rules *iptables.Ruleset) capture.Policy {
	return c.policyOr(policies().Installed(rules))
}

// policyOr returns the policy that was found, unless the user names one or none was found.
func (c *command) policyOr(found capture.Policy, ok bool) capture.Policy {
	if !ok || c.line.named {
		return c.line.policy
	}
	return found
}
