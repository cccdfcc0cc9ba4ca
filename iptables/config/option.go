package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Option is an option by all the names it goes by.
type Option struct {
	// Name is ours, without the dashes.
	Name string
	// Reference are the long names that istio-iptables has for the option,
	// where they differ from Name.
	Reference []string
	// Shared says that Name is istio-iptables' too.
	Shared bool
	// Letter is the short name, or empty.
	Letter string
	// Env are the names of environment variables besides those that are formed
	// from the long names; see [Option.Variables].
	Env []string
	// Annotation is the key of the pod's annotation for the option, or empty.
	Annotation string
	// Group is what a capture option is about, such as "inbound"; help lists them by
	// it.
	Group string
	// Usage is what --help says about it.
	Usage string
	// Default is the value of an option that is not given, as text. It is empty
	// where there is none or where Usage has to explain it.
	Default string
	// Hidden options work, but --help does not list them.
	Hidden bool
	// FlagOnly options have no environment variable and are in no file: they
	// are part of a question, and UID=1000 in an environment asks none.
	FlagOnly bool
}

// Variables returns the names of the environment variables that give the option: its
// long names in capitals with "_" for "-", then those of Env. A name that istio-iptables
// does not have has a prefix, for a pod's environment has variables of others: MODE and
// BACKEND are the application's.
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

// captureOption is an option that becomes a part of a [Config].
type captureOption struct {
	Option
	// value returns the reader and printer of that part.
	value func(*draft) pflag.Value
}

// draft is a Config in the making.
type draft struct {
	Config
	// dualStack is what --dual-stack says; it ends up in IPv6.
	dualStack bool
	// users may be nil: then there are none.
	users Users
}

// Default returns the Config of somebody who gives no option, on a system
// without a user istio-proxy.
func Default() Config {
	var d draft
	for _, o := range captureOptions() {
		// A default that is not a valid value of its option fails the tests.
		_ = o.value(&d).Set(o.Default)
	}
	d.ProxyUIDs, d.ProxyGIDs = []uint32{fallbackID}, []uint32{fallbackID}
	return d.Config
}

// Args returns the arguments that ask for this Config, all of them, whatever the
// environment and the annotations say: numbers for names, one fixed order.
func (c Config) Args() []string {
	var args []string
	d := draft{Config: c}
	for _, o := range captureOptions() {
		// What is hidden is another way to say what a shown option says.
		if !o.Hidden {
			args = append(args, "--"+o.Name+"="+o.value(&d).String())
		}
	}
	return args
}

// Set gives an option, by its name without dashes, the value that Args would print
// for it: numbers for names, commas in lists.
func (c *Config) Set(name, value string) error {
	d := draft{Config: *c}
	for _, o := range captureOptions() {
		if o.Name == name {
			err := o.value(&d).Set(value)
			*c = d.Config
			return err
		}
	}
	return fmt.Errorf("there is no option --%s", name)
}
