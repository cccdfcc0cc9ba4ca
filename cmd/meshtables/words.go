package main

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// What the words of a command line are, whatever the verb. The verb need not come first,
// and it decides which options there are.

// knownFlags are the flags of all verbs. A name means the same for each.
type knownFlags []*pflag.FlagSet

func newKnownFlags() knownFlags {
	var k knownFlags
	for _, v := range verbs() {
		if v.print == nil {
			k = append(k, newCommandLineOf(v, everyRow()).set)
		}
	}
	return k
}

// named returns the flag of that long name, or nil.
func (k knownFlags) named(name string) *pflag.Flag {
	return k.find(func(set *pflag.FlagSet) *pflag.Flag { return set.Lookup(name) })
}

// lettered returns the flag of that letter, or nil.
func (k knownFlags) lettered(letter string) *pflag.Flag {
	return k.find(func(set *pflag.FlagSet) *pflag.Flag { return set.ShorthandLookup(letter) })
}

func (k knownFlags) find(in func(*pflag.FlagSet) *pflag.Flag) *pflag.Flag {
	for _, set := range k {
		if f := in(set); f != nil {
			return f
		}
	}
	return nil
}

// walk returns the places of the words that are options, true, or neither options nor
// their values, false. It ends before "--".
func (k knownFlags) walk(args []string) iter.Seq2[int, bool] {
	return func(yield func(int, bool) bool) {
		for i := 0; i < len(args) && args[i] != "--"; i++ {
			isOption := len(args[i]) > 1 && args[i][0] == '-'
			if !yield(i, isOption) {
				return
			}
			if isOption && k.takesNext(args[i]) {
				i++
			}
		}
	}
}

// takesNext reports whether an option's value is the next word.
func (k knownFlags) takesNext(option string) bool {
	f := k.last(option)
	return f != nil && f.NoOptDefVal == ""
}

// last returns the flag that a word without a value ends in: of letters that share a word
// the last. It returns nil if there is none, or if the word has a value.
func (k knownFlags) last(option string) *pflag.Flag {
	if k.lacksDash(option) {
		option = "-" + option
	}
	if name, long := strings.CutPrefix(option, "--"); long {
		return k.named(name)
	}
	var f *pflag.Flag
	for i := 1; i < len(option); i++ {
		if f != nil && f.NoOptDefVal == "" {
			return nil
		}
		if f = k.lettered(option[i : i+1]); f == nil {
			return nil
		}
	}
	return f
}

// lacksDash reports whether an option is one dash and a long name, with or without a value.
// By its letters -help asks for help too.
func (k knownFlags) lacksDash(option string) bool {
	name, _, _ := strings.Cut(option[1:], "=")
	return len(name) > 1 && name[0] != '-' && name != "help" && k.named(name) != nil
}

// mayLackDash reports whether a word begins with one dash and letters.
func mayLackDash(word string) bool {
	return len(word) > 2 && word[0] == '-' && isLetter(word[1]) && isLetter(word[2])
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' }

// addDashes returns the command line with two dashes before each long name, and an error
// for each that had one. Read by its letters, -config excludes the interface onfig.
func addDashes(args []string) ([]string, error) {
	if !slices.ContainsFunc(args, mayLackDash) {
		return args, nil
	}
	known, fixed := newKnownFlags(), slices.Clone(args)
	var errs []error
	for i, isOption := range known.walk(args) {
		if !isOption || !known.lacksDash(args[i]) {
			continue
		}
		fixed[i] = "-" + args[i]
		name, _, _ := strings.Cut(args[i], "=")
		errs = append(errs, fmt.Errorf("%s: long options take two dashes\n%swrite -%[1]s", name, hintPrefix))
	}
	return fixed, errors.Join(errs...)
}

// switchValues are the words that people write after a switch, and what they mean.
var switchValues = map[string]bool{
	"true": true, "yes": true, "on": true, "1": true,
	"false": false, "no": false, "off": false, "0": false,
}

// checkSwitches refuses values that are words of their own after a switch. A switch takes
// none: the word would mean nothing, and false would turn it on.
func checkSwitches(args []string) error {
	known, at := newKnownFlags(), -1
	var errs []error
	for i, isOption := range known.walk(args) {
		if isOption {
			at = i
			continue
		}
		value, ok := switchValues[args[i]]
		if at < 0 || at != i-1 || !ok {
			continue
		}
		option := args[at]
		f := known.last(option)
		if f == nil {
			continue
		}
		long := option
		if !strings.HasPrefix(long, "--") {
			long = "--" + f.Name
		}
		errs = append(errs, fmt.Errorf("%s takes no separate value\n%sa switch and its value are one word: %s=%t", option, hintPrefix, long, value))
	}
	return errors.Join(errs...)
}
