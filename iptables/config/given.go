package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Authority orders the sources of a value. The highest that gives one decides.
type Authority uint8

// The sources.
const (
	ByDefault Authority = iota
	BySetting
	ByAnnotation
	ByFile
	ByEnvironment
	ByFlag
)

// Given is a value as a source gives it. The zero value means that no source gives one.
type Given struct {
	Authority Authority
	// Source names the source for the user, such as "--backend" or "environment
	// variable BACKEND".
	Source string
	Text   string
}

// IsExplicit reports whether a source gives the value.
func (g Given) IsExplicit() bool { return g.Authority > ByDefault }

// IsBlank reports whether no source gives the value, or it is empty or all blanks.
func (g Given) IsBlank() bool { return strings.TrimSpace(g.Text) == "" }

// String returns the source and the value as messages name them.
func (g Given) String() string { return fmt.Sprintf("%s %q", g.Source, g.Text) }

// Refuse returns the [ValueError] of the value; err says what is allowed.
func (g Given) Refuse(err error) error { return &ValueError{g.Source, g.Text, err} }

// ValueError says that a value is not allowed.
type ValueError struct {
	// Source is "--backend", by the name used on the command line, "environment
	// variable BACKEND", or "annotation" and its key.
	Source string
	// Value is the value as given.
	Value string
	// Err says what is allowed.
	Err error
}

// Error returns one line.
func (e *ValueError) Error() string { return fmt.Sprintf("%s %q: %v", e.Source, e.Value, e.Err) }

// Unwrap returns Err.
func (e *ValueError) Unwrap() error { return e.Err }

// assign sets the value to what is given by several names of one option. They have to
// mean the same, not to be spelt the same.
func assign(value pflag.Value, all []Given) []error {
	var errs []error
	var first Given
	var meaning string
	for _, g := range all {
		if err := value.Set(g.Text); err != nil {
			errs = append(errs, g.Refuse(err))
			continue
		}
		if len(all) == 1 {
			break
		}
		if first == (Given{}) {
			first, meaning = g, value.String()
			continue
		}
		if value.String() != meaning {
			errs = append(errs, fmt.Errorf("%v and %v: must be the same, because they are one option", first, g))
		}
	}
	return errs
}
