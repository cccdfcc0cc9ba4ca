package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables/config"
)

// verb is the first word of the command line that is no option and no value: what to do.
// Without a verb the program applies.
type verb struct {
	name string
	// usage and summary are the verb's line in the list of verbs.
	usage, summary string
	// options returns the verb's own options; nil if it has none.
	options func(*options) []config.Row
	run     func(*command, context.Context) int
	// print returns the answer of a verb that reads only its words.
	print func(words []string) (string, error)
	// arguments says that words may follow that are not options.
	arguments bool
}

// verbs returns all of them, in the order of --help.
func verbs() []verb {
	applying := func(o *options) []config.Row { return slices.Concat(o.applyOptions.rows(), o.probeRows()) }
	return []verb{
		{"", "[options]", "apply the rules; change only what differs", applying, (*command).change, nil, false},
		// In Istio's manifests this is the subcommand of another program, and in Linkerd's the
		// name of the container.
		{istioVerb, "", "", applying, (*command).change, nil, false},
		{linkerdVerb, "", "", applying, (*command).change, nil, false},
		{"verify", "verify [options]", "compare what is installed with these options or, without any, with what was asked for", nil, (*command).verify, nil, false},
		{"show", "show", "show what is installed, with counters; draw it with -O dot or -O mermaid", (*options).showRows, (*command).show, nil, false},
		{"probe", "probe [options]", "open connections and check where they arrive; without options, by the installed rules", (*options).probeRows, (*command).probe, nil, false},
		{"explain", "explain in|out ADDR:PORT", "explain a connection by rules and options; without an address, what is captured", (*options).explainRows, (*command).explain, nil, true},
		{hostVerb, "host [--pods ADDR,…]", "keep the node's side of ambient mode: the address of health probes, and for which pods", (*options).hostRows, (*command).host, nil, false},
		{cniVerb, "cni install|uninstall", "put the CNI plugin on a node, or take it away; with --watch keep it so", func(o *options) []config.Row { return o.cniOptions.rows() }, (*command).cni, nil, true},
		{auditVerb, "audit [options]", "say of every pod of this machine whether it is captured as it asks to be; mend it with --repair", (*options).auditRows, (*command).audit, nil, false},
		{"help", "help [VERB]", "show this help, or the help of a verb", nil, nil, printHelp, true},
		{"completion", "completion bash|zsh|fish", "print the completion script of that shell", nil, nil, printCompletion, true},
	}
}

func verbNamed(name string) (verb, bool) {
	for _, v := range verbs() {
		if v.name == name {
			return v, true
		}
	}
	return verb{}, false
}

// verbNames returns the names of the verbs that --help lists.
func verbNames() []string {
	var names []string
	for _, v := range verbs() {
		if v.name != "" && v.usage != "" {
			names = append(names, v.name)
		}
	}
	return names
}

// verbsWith returns the verbs that have an option of their own with that name, or nil.
func verbsWith(option string) []string {
	var names []string
	for _, v := range verbs() {
		if v.options == nil || v.usage == "" {
			continue
		}
		for _, row := range v.options(&options{}) {
			if row.Name == option {
				names = append(names, cmp.Or(v.name, "applying"))
			}
		}
	}
	return names
}

// ownOptions returns the options that only some verbs have.
func ownOptions() []config.Option {
	var own []config.Option
	for _, v := range verbs() {
		if v.options == nil {
			continue
		}
		for _, row := range v.options(&options{}) {
			own = append(own, row.Option)
		}
	}
	return own
}

// splitVerb takes the verb off the command line.
func splitVerb(args []string) (verb, []string) {
	if len(args) > 0 {
		if v, ok := verbNamed(args[0]); ok && v.name != "" {
			return v, args[1:]
		}
	}
	if at := verbAmong(args); at >= 0 {
		v, _ := verbNamed(args[at])
		return v, slices.Delete(slices.Clone(args), at, at+1)
	}
	return verbs()[0], args
}

// verbAmong returns the place of a verb after options, or -1. The value of an option is no
// verb, and a word before it that is neither makes it none.
func verbAmong(args []string) int {
	isVerb := func(word string) bool {
		v, ok := verbNamed(word)
		return ok && v.name != ""
	}
	if !slices.ContainsFunc(args, isVerb) {
		return -1
	}
	for i, isOption := range newKnownFlags().walk(args) {
		if isOption {
			continue
		}
		if isVerb(args[i]) {
			return i
		}
		break
	}
	return -1
}
