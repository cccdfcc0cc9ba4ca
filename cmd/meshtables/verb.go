package main

import (
	"context"
	"strings"

	"github.com/spf13/pflag"
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
}

// verbs returns all of them, in the order of --help.
func verbs() []verb {
	applying := func(o *options) []row { return o.applyOptions.rows() }
	return []verb{
		{"", "[options]", "apply; changes only what differs", applying, (*command).change},
		// In Istio's manifests this is the subcommand of another program.
		{"istio-iptables", "", "", applying, (*command).change},
		{"verify", "verify [options]", "compare what is installed with what these options ask for", nil, (*command).verify},
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
Exit status: 0 done, unchanged or as wanted; 1 failed, nothing changed; 2 wrong
option, nothing touched; 3 verify found a difference; 126 connections did not
arrive (--run-validation).

Options (istio-iptables' names and letters are accepted for them, and as
environment variables all names in capitals, with _ for -):
`)
	b.WriteString(strings.TrimRight(set.FlagUsagesWrapped(100), "\n") + "\n")
	return b.String()
}
