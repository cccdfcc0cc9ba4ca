package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables/internal/lazy"
)

// asFlag is a flag with its value, as it is on a command line.
var asFlag = lazy.Regexp(`--([a-z0-9-]+)=([a-z0-9-]+)`)

// checkKey returns nil for the name of an option that a file can give. For any other
// word the error says what it is, or what the user likely meant. where is "in a file".
func (f *Flags) checkKey(where, key string) error {
	var names []string
	for _, o := range f.Options() {
		inFile := !o.Hidden && !o.FlagOnly && o.Name != FileOption
		if o.Name != key && !o.isAlso(key) {
			if inFile {
				names = append(names, o.Name)
			}
			continue
		}
		switch {
		case o.Refused != "":
			return errors.New(o.Refused)
		case o.Hidden:
			// Its usage is such as "as --backend=nftables".
			return errors.New(where + " give it " + asFlag().ReplaceAllString(o.Usage, "$1: $2"))
		case !inFile:
			return errNotInFile(o, notOfVerb)
		case o.Name != key:
			return errors.New(where + " its name is " + o.Name)
		}
		return nil
	}
	others := f.others()
	if i := slices.IndexFunc(others, func(o mentioned) bool { return o.Name == key }); i >= 0 {
		return errNotInFile(others[i].Option, others[i].why)
	}
	if near := Nearest(key, names); near != "" {
		return fmt.Errorf("there is no such option; did you mean %s?", near)
	}
	return errNoOption
}

// errNoOption says that a word is not nearly the name of any option.
var errNoOption = errors.New("there is no such option")

// notOfVerb is why a verb's flags do not have an option, unless there is another reason.
const notOfVerb = "it is not an option of this verb"

// errNotInFile says why a file cannot give an option that exists; otherwise is why unless
// that is known.
func errNotInFile(o Option, otherwise string) error {
	switch {
	case o.Name == FileOption:
		return errors.New("a file cannot name another file")
	case o.FlagOnly:
		return errors.New("only a flag can give it")
	}
	return errors.New(otherwise)
}

// isAlso reports whether a word is another name of the option.
func (o Option) isAlso(word string) bool {
	return word != "" && (word == o.Letter || slices.Contains(o.Annotations, word) ||
		slices.Contains(o.Reference, word) || slices.Contains(o.FlagNames, word) || slices.Contains(o.Variables(), word))
}
