package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// What is wrong with a command line, and what the user likely meant.

// parse reads the words of the command line. After an unknown flag it reads the rest too,
// to know the format of messages and to find other errors.
func (c *commandLine) parse(v verb, args []string) error {
	args, oneDash := addDashes(args)
	if v.name == cniVerb {
		args = nameInstallMode(args)
	}
	if err := c.set.Parse(args); err != nil {
		c.set.ParseErrorsAllowlist.UnknownFlags = true
		_ = c.set.Parse(args)
		return errors.Join(oneDash, c.withHint(v, err))
	}
	return errors.Join(oneDash, c.checkWords(v, args))
}

// checkWords refuses words of the command line that are not options and that the verb does
// not take.
func (c *commandLine) checkWords(v verb, args []string) error {
	if c.set.NArg() == 0 {
		return nil
	}
	if err := checkSwitches(args); err != nil || v.arguments {
		return err
	}
	return checkArguments(c.set.Args(), args)
}

// checkArguments refuses words of the command line that are not options.
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
		hint = "the verb comes first: meshtables " + word + " [options]"
	case at == 0 && near != "":
		hint = "did you mean " + near + "?"
	case at == 0:
		hint = "the verbs are " + strings.Join(verbNames(), ", ") + "; without a verb it applies; --cleanup-only removes everything"
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
			hint = "it is an option of " + iptables.Enumerate(others)
		} else if why := c.flags.Mentioned(name); why != "" {
			hint = why
		} else if near := c.flags.Nearest(name); near != "" {
			hint = "did you mean --" + near + "?"
		}
	}
	return fmt.Errorf("%w\n%s%s", err, hintPrefix, hint)
}
