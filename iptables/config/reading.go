package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Sources are where options come from, besides flags.
type Sources struct {
	// Env has the form of [os.Environ].
	Env []string
	// Annotations is the content of an annotation file as the downward API
	// writes it; nil if there is none.
	Annotations []byte
	// Users looks up the users and groups of the system; nil if there is no list of
	// them.
	Users Users
}

// Reading is what all sources gave when the options of a policy were read. The policy
// adds errors that are about more than one value, and warnings.
type Reading struct {
	env      environment
	notes    annotations
	options  []Option
	given    map[string]Given
	errs     []error
	warnings []string
}

// Read sets the policy's options from the flags, after fs.Parse, and the other sources.
// The order is: flag, environment, file of AddFile, annotation, default. The first that
// gives an option counts. Read ignores the rest, even if it is wrong.
func (f *Flags) Read(src Sources) *Reading {
	r := &Reading{env: parseEnvironment(src.Env), given: make(map[string]Given)}
	r.notes, r.errs = parseAnnotations(src.Annotations)
	for _, fl := range f.policy {
		r.read(fl, f.file)
		r.options = append(r.options, fl.Option)
	}
	return r
}

func (r *Reading) read(f *flag, file file) {
	all, warnings := f.find(r.env, file, r.notes)
	r.warnings = append(r.warnings, warnings...)
	r.given[f.Name] = f.from
	if all == nil {
		all = []Given{{ByDefault, "default of --" + f.Name, f.Default}}
	}
	r.errs = append(r.errs, assign(f.Value, all)...)
	r.warnRepeated(f.Value, all)
}

// warnRepeated warns of duplicates in a list.
func (r *Reading) warnRepeated(value pflag.Value, all []Given) {
	l, ok := value.(lister)
	if !ok {
		return
	}
	for _, g := range all {
		if again := l.repeated(g.Text); again != "" {
			r.Warn("%v repeats %s, which has no effect", g, again)
		}
	}
}

// Given returns what is given for an option, by its name without dashes. It is the zero
// value if the option has its default.
func (r *Reading) Given(option string) Given { return r.given[option] }

// Annotation returns the annotation with a key. An empty one counts as given.
func (r *Reading) Annotation(key string) (Given, bool) { return r.notes.get(key) }

// UnknownAnnotations returns the annotations whose keys have a prefix but belong to no
// option, sorted by key.
func (r *Reading) UnknownAnnotations(prefix string) []Given {
	var unknown []Given
	for _, key := range slices.Sorted(maps.Keys(r.notes)) {
		isKnown := slices.ContainsFunc(r.options, func(o Option) bool { return o.Annotation == key })
		if strings.HasPrefix(key, prefix) && !isKnown {
			g, _ := r.notes.get(key)
			unknown = append(unknown, g)
		}
	}
	return unknown
}

// Variable returns an environment variable. An empty one counts as not given.
func (r *Reading) Variable(name string) (Given, bool) { return r.env.get(name) }

// Fail adds an error of one line.
func (r *Reading) Fail(err error) { r.errs = append(r.errs, err) }

// Warn adds a sentence about values that have no effect or are likely a mistake, with or
// without a hint on a line of its own.
func (r *Reading) Warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// Err returns all errors of all sources, one a line (see [errors.Join]).
func (r *Reading) Err() error { return errors.Join(r.errs...) }

// Warnings returns all warnings, a sentence each.
func (r *Reading) Warnings() []string { return r.warnings }
