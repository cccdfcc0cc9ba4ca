package main

import (
	"iter"
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
			k = append(k, newCommandLine(v).set)
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
