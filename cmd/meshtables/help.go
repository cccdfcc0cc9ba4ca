package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/config"
)

// helpWidth is the width of the lines about options.
const helpWidth = 100

// groupWidth is the width of the names of groups.
const groupWidth = 14

// printHelp returns the help, or the help of the verb in words.
func printHelp(words []string) (string, error) {
	if len(words) > 1 {
		return "", fmt.Errorf("help %q: must be one verb", words)
	}
	v, rest := splitVerb(words)
	if err := checkArguments(rest, words); err != nil {
		return "", err
	}
	return v.help(newCommandLine(v, chosenDataplane(v, nil, nil, nil))), nil
}

// help returns what --help prints. For a verb that is its own options, and only the names
// of those that say what is captured.
func (v verb) help(line *commandLine) string {
	if v.name == "" || v.usage == "" {
		return generalHelp(line.set)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "meshtables %s: %s.\n\nUsage:\n  meshtables %s\n", v.name, v.summary, v.usage)
	if v.print != nil {
		return b.String()
	}
	own := optionNames(line, v.options)
	every := optionNames(line, (*options).rows)
	every = append(slices.DeleteFunc(every, func(name string) bool { return slices.Contains(own, name) }), "help", "version")
	if len(own) > 0 {
		fmt.Fprintf(&b, "\nOptions of %s:\n%s", v.name, usages(line.set, own))
	}
	fmt.Fprintf(&b, "\nOptions of every verb:\n%s", usages(line.set, every))
	b.WriteString("\nOptions that say what is captured; see meshtables --help:\n")
	names, groups := captureGroups(line.flags)
	for _, group := range names {
		fmt.Fprintf(&b, "  %-12s%s\n", group, strings.Join(lines(groups[group], helpWidth-groupWidth), "\n"+strings.Repeat(" ", groupWidth)))
	}
	return b.String()
}

// lines joins words into lines of at most width letters.
func lines(words []string, width int) []string {
	all := words[:1:1]
	for _, word := range words[1:] {
		if last := &all[len(all)-1]; len(*last)+1+len(word) <= width {
			*last += " " + word
		} else {
			all = append(all, word)
		}
	}
	return all
}

// generalHelp returns the help for all verbs, and for all options of applying.
func generalHelp(set *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString(`meshtables writes the netfilter rules that send the traffic of a network namespace
through its sidecar proxy.

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
			line("--dry-run [options]", "print the rules as iptables-save would")
			line("--cleanup-only", "remove everything, whatever installed it")
		}
	}
	b.WriteString(`
Exit status: 0 done, unchanged, as wanted, or cannot tell (probe, --run-validation);
1 failed, nothing changed; 2 wrong option, nothing touched; 3 verify, audit or
explain --trace found a difference; 126 a connection went to the wrong place
(probe, --run-validation).

Options (istio-iptables' names and letters work too; as environment variables,
MESHTABLES_ and the name in capitals, with _ for -, or istio-iptables' name in
capitals):
`)
	b.WriteString(strings.TrimRight(set.FlagUsagesWrapped(helpWidth), "\n") + "\n")
	b.WriteString(linkerdHelp())
	return b.String()
}

// linkerdHelp returns the section about Linkerd's names.
func linkerdHelp() string {
	b := strings.Builder{}
	b.WriteString(`
Linkerd's names. The arguments of its proxy-init work as they are: a name that only
Linkerd has, the first word linkerd-init, or --mesh=linkerd chooses its options, with
these letters and defaults:
`)
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	for _, n := range linkerdList() {
		set.BoolP(n.Name, n.Letter, false, n.Means)
	}
	b.WriteString(set.FlagUsagesWrapped(helpWidth))
	return b.String()
}

// optionNames returns the names of the options that help lists.
func optionNames(line *commandLine, rows func(*options) []config.Row) []string {
	if rows == nil {
		return nil
	}
	var names []string
	for _, r := range rows(&options{}) {
		if !line.set.Lookup(r.Name).Hidden {
			names = append(names, r.Name)
		}
	}
	return names
}

// usages returns the help lines of these options.
func usages(set *pflag.FlagSet, names []string) string {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	some.SortFlags = false
	for _, name := range names {
		some.AddFlag(set.Lookup(name))
	}
	return some.FlagUsagesWrapped(helpWidth)
}

// captureGroups returns the options that say what is captured, by group, in the order of
// the table of options.
func captureGroups(flags *config.Flags) (names []string, groups map[string][]string) {
	groups = make(map[string][]string)
	for _, o := range flags.Policy() {
		if o.Hidden {
			continue
		}
		if groups[o.Group] == nil {
			names = append(names, o.Group)
		}
		groups[o.Group] = append(groups[o.Group], "--"+o.Name)
	}
	return names, groups
}
