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
	// PodAnnotations are the pod's annotations, for whoever has them without such a file.
	PodAnnotations map[string]string
	// Implied are values that annotations give in other ways than by a key of the option, by
	// the option's name. The option's own annotations come first.
	Implied map[string]Given
	// NoNameServers says that nobody can tell yet which name servers the namespace will have:
	// its containers have not been made.
	NoNameServers bool
	// Users looks up the users and groups of the system; nil if there is no list of
	// them.
	Users Users
}

// AllAnnotations returns the annotations of the file and of the pod. The error has a line for
// each that cannot be read.
func (s *Sources) AllAnnotations() (map[string]string, error) {
	notes, errs := parseAnnotations(s.Annotations)
	maps.Copy(notes, s.PodAnnotations)
	return notes, errors.Join(errs...)
}

// Reading is what all sources gave when the options of a policy were read. The policy
// adds errors that are about more than one value, and warnings.
type Reading struct {
	env      environment
	notes    annotations
	settings file
	options  []Option
	given    map[string]Given
	errs     []error
	warnings []string
}

// Read sets the policy's options from the flags, after fs.Parse, and the other sources.
// The order is: flag, environment, file of AddFile, annotation, settings of AddSettings,
// default. The first that gives an option counts. Read ignores the rest, even if it is wrong.
func (f *Flags) Read(src Sources) *Reading {
	r := &Reading{env: parseEnvironment(src.Env), settings: f.settings, given: make(map[string]Given)}
	r.notes, r.errs = parseAnnotations(src.Annotations)
	maps.Copy(r.notes, src.PodAnnotations)
	in := given{env: r.env, file: f.file, notes: r.notes, implied: src.Implied, settings: f.settings}
	for _, fl := range f.policy {
		r.read(fl, in)
		r.options = append(r.options, fl.Option)
	}
	return r
}

func (r *Reading) read(f *flag, in given) {
	all, warnings := f.find(in)
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

// Setting returns what the settings give for an option, whether or not it counts.
func (r *Reading) Setting(option string) (Given, bool) {
	g, ok := r.settings[option]
	return g, ok
}

// Annotation returns the annotation with a key. An empty one counts as given.
func (r *Reading) Annotation(key string) (Given, bool) { return r.notes.get(key) }

// UnknownAnnotations returns the annotations whose keys have a prefix but belong to no
// option, and are not among those that mean something else, sorted by key.
func (r *Reading) UnknownAnnotations(prefix string, others ...string) []Given {
	var unknown []Given
	for _, key := range slices.Sorted(maps.Keys(r.notes)) {
		isKnown := slices.ContainsFunc(r.options, func(o Option) bool { return slices.Contains(o.Annotations, key) })
		if strings.HasPrefix(key, prefix) && !isKnown && !slices.Contains(others, key) {
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
