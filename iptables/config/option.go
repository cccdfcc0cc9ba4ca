package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// Row is an option, and the value that reads what is given for it.
type Row struct {
	Option
	// Value prints itself in a form that its Set takes. Set replaces what was set
	// before, or returns an error and changes nothing.
	Value pflag.Value
}

// Option is an option with all its names.
type Option struct {
	// Name is ours, without the dashes.
	Name string
	// Reference are the long names of the option in the reference, the program that
	// this one replaces, where they differ from Name.
	Reference []string
	// FlagNames are long names in a reference that reads no environment: a flag can have
	// them, and nothing else.
	FlagNames []string
	// Shared says that the reference has Name too.
	Shared bool
	// Letter is the short name, or empty.
	Letter string
	// Env are environment variables besides the ones formed from the long names; see
	// [Option.Variables].
	Env []string
	// Annotations are the keys of the pod's annotations for the option. The first that is
	// there counts; with AddsUp all of them do.
	Annotations []string
	// Group is what an option of a policy is about, such as "inbound"; help groups
	// options by it.
	Group string
	// Usage is what --help says about it.
	Usage string
	// Default is the value, as text, if the option is not given. It is empty if there
	// is none, or if Usage explains it.
	Default string
	// Example is a value for messages that show how to write a file. One option of a
	// policy needs it.
	Example string
	// Hidden options work, but --help does not list them.
	Hidden bool
	// Refused is why the option cannot be given, or empty; see [Refuse].
	Refused string
	// Bare is what the flag means without a value, which it then takes only after "=". It is
	// empty if the value may be the next word. Switches have it without being told.
	Bare string
	// AddsUp says that if the flag, or several of its annotations, are given, the lists are one.
	AddsUp bool
	// FlagOnly options have no environment variable, and files cannot give them. They
	// are part of a question; UID=1000 in the environment is not.
	FlagOnly bool
}

// Variables returns the environment variables that give the option: its long names in
// capitals with "_" for "-", then Env. A name that only we use has a prefix, because
// OUTPUT or BACKEND in a pod's environment is the application's.
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
