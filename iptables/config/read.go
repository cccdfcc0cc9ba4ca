package config

import "errors"

// Sources are where options come from besides flags.
type Sources struct {
	// Env has the form of [os.Environ].
	Env []string
	// Annotations is the content of an annotation file as the downward API
	// writes it; nil if there is none.
	Annotations []byte
	// Users knows the users and groups of the system.
	Users Users
}

// Config returns what the flags, after fs.Parse, and the other sources ask for.
// A flag goes before the environment, that before the file of AddFile, that before
// an annotation, that before the default; what is overruled is not looked at.
//
// The warnings, a sentence each, are about values that have no effect. The error
// has all errors of all sources (see [errors.Join]), each a line.
func (f *Flags) Config(src Sources) (Config, []string, error) {
	notes, errs := parseAnnotations(src.Annotations)
	r := reading{
		draft: draft{users: src.Users},
		env:   parseEnvironment(src.Env),
		file:  f.file,
		notes: notes,
		given: make(map[string]given),
		errs:  errs,
	}
	for _, c := range f.capture {
		r.read(c)
	}
	r.applyProxyUser()
	r.applyOwnPorts()
	r.applyDualStack()
	r.checkMark()
	if len(r.errs) > 0 {
		return Config{}, nil, errors.Join(r.errs...)
	}
	return r.Config, append(r.warnings, r.ineffective()...), nil
}

// reading is a Config while it is put together from its sources.
type reading struct {
	draft
	env   environment
	file  file
	notes annotations
	// given holds what was given explicitly, by the name of the option.
	given    map[string]given
	errs     []error
	warnings warnings
}

func (r *reading) read(c captureFlag) {
	value := c.value(&r.draft)
	all := c.flag.given()
	if all == nil {
		var warnings []string
		all, warnings = r.env.given(c.option)
		r.warnings = append(r.warnings, warnings...)
	}
	if all == nil {
		all = r.file.given(c.option)
	}
	if all == nil {
		all = r.notes.given(c.option)
	}
	c.take(all)
	if all == nil {
		all = []given{{byDefault, "default of --" + c.option.Name, c.option.Default}}
	} else {
		r.given[c.option.Name] = all[0]
	}
	r.errs = append(r.errs, assign(value, all)...)
	r.warnRepeated(value, all)
}
