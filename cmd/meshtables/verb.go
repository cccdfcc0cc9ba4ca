package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/config"
)

// verb is what the program can be told to do, by the first word of the command
// line. Without any it applies.
type verb struct {
	name string
	// summary is the verb's line in the list of them.
	usage, summary string
	// options returns its own options; nil where it has none.
	options func(*options) []row
	run     func(*command, context.Context) int
	// arguments tells whether words may follow that are no options.
	arguments bool
}

// verbs returns all of them, in the order of --help.
func verbs() []verb {
	applying := func(o *options) []row { return slices.Concat(o.applyOptions.rows(), o.probeRows()) }
	return []verb{
		{"", "[options]", "apply; changes only what differs", applying, (*command).change, false},
		// In Istio's manifests this is the subcommand of another program.
		{"istio-iptables", "", "", applying, (*command).change, false},
		{"verify", "verify [options]", "compare what is installed with what these options ask for", nil, (*command).verify, false},
		{"show", "show", "tell what is installed, with counters; draw it with -O dot or -O mermaid", (*options).showRows, (*command).show, false},
		{"probe", "probe [options]", "open connections and see that they arrive; without options as the installed rules say", (*options).probeRows, (*command).probe, false},
		{"explain", "explain in|out ADDR:PORT", "tell what happens to a connection, by which rules and options; without words, what to all", (*options).explainRows, (*command).explain, true},
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

// help returns what --help prints.
func (v verb) help(set *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString(`meshtables makes the traffic of a network namespace pass through a sidecar proxy
by writing netfilter rules.

Usage:
`)
	line := func(usage, summary string) {
		b.WriteString("  meshtables " + usage + strings.Repeat(" ", max(1, 26-len(usage))) + summary + "\n")
	}
	for _, each := range verbs() {
		if each.usage == "" {
			continue
		}
		line(each.usage, each.summary)
		if each.name == "" {
			line("--dry-run [options]", "print what iptables-save would print afterwards")
			line("--cleanup-only", "remove everything, whatever installed it")
		}
	}
	b.WriteString(`
Exit status: 0 done, unchanged, as wanted, or it could not be told (probe,
--run-validation); 1 failed, nothing changed; 2 wrong option, nothing touched; 3
verify or explain --trace found a difference; 126 connections did not go where
they have to (probe, --run-validation).

Options (istio-iptables' names and letters are accepted for them, and as
environment variables all names in capitals, with _ for -):
`)
	b.WriteString(strings.TrimRight(set.FlagUsagesWrapped(100), "\n") + "\n")
	return b.String()
}
