package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables/config"
)

// verb is what the program can be told to do, by the first word of the command
// line. Without any it applies.
type verb struct {
	name string
	// summary is the verb's line in the list of them.
	usage, summary string
	// options returns its own options; nil where it has none.
	options func(*options) []config.Row
	run     func(*command, context.Context) int
	// print returns the answer of a verb that reads nothing but its words.
	print func(words []string) (string, error)
	// arguments tells whether words may follow that are no options.
	arguments bool
}

// verbs returns all of them, in the order of --help.
func verbs() []verb {
	applying := func(o *options) []config.Row { return slices.Concat(o.applyOptions.rows(), o.probeRows()) }
	return []verb{
		{"", "[options]", "apply; changes only what differs", applying, (*command).change, nil, false},
		// In Istio's manifests this is the subcommand of another program.
		{"istio-iptables", "", "", applying, (*command).change, nil, false},
		{"verify", "verify [options]", "compare what is installed with what these options ask for", nil, (*command).verify, nil, false},
		{"show", "show", "tell what is installed, with counters; draw it with -O dot or -O mermaid", (*options).showRows, (*command).show, nil, false},
		{"probe", "probe [options]", "open connections and see that they arrive; without options as the installed rules say", (*options).probeRows, (*command).probe, nil, false},
		{"explain", "explain in|out ADDR:PORT", "tell what happens to a connection, by which rules and options; without words, what to all", (*options).explainRows, (*command).explain, nil, true},
		{"help", "help [VERB]", "show this help, or that of a verb", nil, nil, printHelp, true},
		{"completion", "completion bash|zsh|fish", "print what completes command lines in that shell", nil, nil, printCompletion, true},
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

// verbNames returns the names of all that --help lists.
func verbNames() []string {
	var names []string
	for _, v := range verbs() {
		if v.name != "" && v.usage != "" {
			names = append(names, v.name)
		}
	}
	return names
}

// verbsWith returns which verbs have an option of their own of that name, in words;
// nil if none has.
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

// ownOptions returns the options that not every verb has.
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
	return verbs()[0], args
}
