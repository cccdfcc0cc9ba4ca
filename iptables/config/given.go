package config

import (
	"fmt"

	"github.com/spf13/pflag"
)

// authority orders the sources of a value: the highest that has one decides.
type authority uint8

const (
	byDefault authority = iota
	byAnnotation
	byFile
	byEnvironment
	byFlag
)

// given is a value as a source gives it. The zero value is one that no source
// gives.
type given struct {
	authority authority
	// source is what the user would look for, such as "--mode" or "environment
	// variable MODE".
	source string
	text   string
}

// String returns source and value as messages name them.
func (g given) String() string { return fmt.Sprintf("%s %q", g.source, g.text) }

// ValueError is a value that is not allowed.
type ValueError struct {
	// Source is "--mode", by the name used on the command line, "environment
	// variable MODE" or "annotation sidecar.istio.io/interceptionMode".
	Source string
	// Value is as it was given.
	Value string
	// Err says what is allowed.
	Err error
}

// Error returns one line.
func (e *ValueError) Error() string { return fmt.Sprintf("%s %q: %v", e.Source, e.Value, e.Err) }

// Unwrap returns Err.
func (e *ValueError) Unwrap() error { return e.Err }

func (g given) error(err error) error { return &ValueError{g.source, g.text, err} }

// assign sets the value to what is given by several names of one option. These
// have to agree in meaning, not to the letter.
func assign(value pflag.Value, all []given) []error {
	var errs []error
	var first given
	var meaning string
	for _, g := range all {
		if err := value.Set(g.text); err != nil {
			errs = append(errs, g.error(err))
			continue
		}
		if first == (given{}) {
			first, meaning = g, value.String()
			continue
		}
		if value.String() != meaning {
			errs = append(errs, fmt.Errorf("%v and %v: must be the same, because they are one option", first, g))
		}
	}
	return errs
}
