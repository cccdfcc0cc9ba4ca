package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// Row is an option, and the value that takes what is given for it.
type Row struct {
	Option
	// Value prints what it has taken in a way that it takes too. Its Set replaces what
	// was set before, or refuses and changes nothing.
	Value pflag.Value
}

// Option is an option by all the names it goes by.
type Option struct {
	// Name is ours, without the dashes.
	Name string
	// Reference are the long names that the program which this one stands in for has
	// for the option, where they differ from Name.
	Reference []string
	// Shared says that Name is that program's too.
	Shared bool
	// Letter is the short name, or empty.
	Letter string
	// Env are the names of environment variables besides those that are formed
	// from the long names; see [Option.Variables].
	Env []string
	// Annotation is the key of the pod's annotation for the option, or empty.
	Annotation string
	// Group is what an option of a policy is about, such as "inbound"; help lists
	// them by it.
	Group string
	// Usage is what --help says about it.
	Usage string
	// Default is the value of an option that is not given, as text. It is empty
	// where there is none or where Usage has to explain it.
	Default string
	// Example is a value for messages that show how a file is written. Only one option
	// of a policy needs one.
	Example string
	// Hidden options work, but --help does not list them.
	Hidden bool
	// FlagOnly options have no environment variable and are in no file: they
	// are part of a question, and UID=1000 in an environment asks none.
	FlagOnly bool
}

// Variables returns the names of the environment variables that give the option: its
// long names in capitals with "_" for "-", then those of Env. A name that is ours alone
// has a prefix, for a pod's environment has variables of others: OUTPUT and BACKEND are
// the application's.
func (o Option) Variables() []string {
	if o.FlagOnly {
		return nil
	}
	names := []string{variablePrefix + variable(o.Name)}
	if o.Shared {
		names = append(names, variable(o.Name))
	}
	for _, name := range o.Reference {
		names = append(names, variable(name))
	}
	return append(names, o.Env...)
}

const variablePrefix = "MESHTABLES_"

func variable(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
