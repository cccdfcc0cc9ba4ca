package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/config"
)

// What is wrong with a command line, and what was likely meant by it.

// parse reads the words of the command line. What follows a flag that does not exist is
// read too, so that messages have the form that it asks for and what else is wrong is
// found.
func (c *commandLine) parse(v verb, args []string) error {
	err := c.set.Parse(args)
	if err != nil {
		c.set.ParseErrorsAllowlist.UnknownFlags = true
		_ = c.set.Parse(args)
		return c.withHint(v, err)
	}
	if v.arguments {
		return nil
	}
	return checkArguments(c.set.Args(), args)
}

// checkArguments refuses words of the command line that are no options.
func checkArguments(words, line []string) error {
	if len(words) == 0 {
		return nil
	}
	word := words[0]
	hint := "all options start with - or --; a list is one word, with commas"
	_, isVerb := verbNamed(word)
	near := config.Nearest(word, verbNames())
	switch at := slices.Index(line, word); {
	case isVerb:
		hint = "it has to come first: meshtables " + word + " [options]"
	case at > 0 && strings.HasPrefix(line[at-1], "--") && (word == "true" || word == "false"):
		hint = "a switch and its value are one word: " + line[at-1] + "=" + word
	case at == 0 && near != "":
		hint = "did you mean " + near + "?"
	case at == 0:
		hint = "the verbs are " + strings.Join(verbNames(), ", ") + "; without any it applies; to remove everything: --cleanup-only"
	}
	return fmt.Errorf("unexpected argument %q\n%s%s", word, hintPrefix, hint)
}

// withHint adds a hint to an error of parsing the verb's command line.
func (c *commandLine) withHint(v verb, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	hint := "see " + strings.TrimSpace("meshtables "+v.name) + " --help"
	if unknown.GetSpecifiedShortnames() == "" {
		name := unknown.GetSpecifiedName()
		if others := verbsWith(name); others != nil {
			hint = "it is an option of " + strings.Join(others, " and ")
		} else if near := c.flags.Nearest(name); near != "" {
			hint = "did you mean --" + near + "?"
		}
	}
	return fmt.Errorf("%w\n%s%s", err, hintPrefix, hint)
}
