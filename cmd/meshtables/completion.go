package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// printCompletion returns a shell's script that completes verbs and option names.
func printCompletion(words []string) (string, error) {
	scripts := map[string]func([]completed) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	var script func([]completed) string
	if len(words) == 1 {
		script = scripts[words[0]]
	}
	if script == nil {
		return "", fmt.Errorf("completion %q: must be one of %s\n%sfor example source <(meshtables completion bash)",
			words, strings.Join(slices.Sorted(maps.Keys(scripts)), ", "), hintPrefix)
	}
	return script(completions()), nil
}

// completed is a verb, or none, with the words and options that can follow it.
type completed struct {
	verb, summary string
	words         []string
	options       []*pflag.Flag
}

// completions returns what can follow each verb. The first is without a verb.
func completions() []completed {
	words := map[string][]string{
		"": verbNames(), "explain": {"in", "out"}, cniVerb: {"install", "uninstall"}, "help": verbNames(), "completion": {"bash", "zsh", "fish"},
	}
	var all []completed
	for _, v := range verbs() {
		if v.usage == "" {
			continue
		}
		c := completed{verb: v.name, summary: v.summary, words: words[v.name]}
		if v.print == nil {
			newCommandLineOf(v, everyRow()).set.VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					c.options = append(c.options, f)
				}
			})
		}
		all = append(all, c)
	}
	return all
}

// line returns all words, separated by blanks.
func (c completed) line() string {
	words := slices.Clone(c.words)
	for _, o := range c.options {
		words = append(words, "--"+o.Name)
	}
	return strings.Join(words, " ")
}

// cases returns the branches of a shell's case, one a verb. The last is without a verb.
func cases(all []completed, form string) string {
	var b strings.Builder
	for _, c := range append(slices.Clone(all[1:]), all[0]) {
		pattern := c.verb
		if pattern == "" {
			pattern = "*"
		}
		fmt.Fprintf(&b, form, pattern, c.line())
	}
	return b.String()
}

func bashScript(all []completed) string {
	return `# bash completion for meshtables; source it.
_meshtables() {
	local words
	case "${COMP_WORDS[1]}" in
` + cases(all, "\t%s) words='%s' ;;\n") + `	esac
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _meshtables meshtables
`
}

func zshScript(all []completed) string {
	return `#compdef meshtables
# zsh completion for meshtables; keep it as _meshtables in a folder of fpath.
_meshtables() {
	local list
	case "$words[2]" in
` + cases(all, "\t%s) list='%s' ;;\n") + `	esac
	compadd -- ${=list} || _files
}
compdef _meshtables meshtables
`
}

func fishScript(all []completed) string {
	var b strings.Builder
	b.WriteString("# fish completion for meshtables; source it.\n")
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	seen := "not __fish_seen_subcommand_from " + strings.Join(verbNames(), " ")
	for _, c := range all {
		when := seen
		if c.verb != "" {
			fmt.Fprintf(&b, "complete -c meshtables -n '%s' -f -a %s -d '%s'\n", seen, c.verb, quote.Replace(c.summary))
			when = "__fish_seen_subcommand_from " + c.verb
		}
		if c.verb != "" && len(c.words) > 0 {
			fmt.Fprintf(&b, "complete -c meshtables -n '%s' -f -a '%s'\n", when, strings.Join(c.words, " "))
		}
		for _, o := range c.options {
			value := ""
			if o.NoOptDefVal == "" {
				value = " -r"
			}
			fmt.Fprintf(&b, "complete -c meshtables -n '%s' -l %s%s -d '%s'\n", when, o.Name, value, quote.Replace(o.Usage))
		}
	}
	return b.String()
}
