package config

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/spf13/pflag"
)

// Flags are the options of a flag set: a policy's, and the program's, which
// [Flags.Register] adds.
//
// While the command line is parsed, a flag takes any text. [Flags.Apply] and
// [Flags.Read] read it later, so that all bad values are reported, not only the
// first. If a flag is given several times, or by several names, the last counts;
// [Flags.Replaced] tells of the others.
type Flags struct {
	set             *pflag.FlagSet
	policy, program []*flag
	file, settings  file
	// aliases leads from the names of Option.Reference and Option.FlagNames to the flags.
	aliases map[string]*flag
	// mentions return options that these flags do not have.
	mentions []func() []mentioned
}

// WithoutArguments returns flags of a policy's options that nobody gives on a command line:
// settings and annotations do.
func WithoutArguments(rows []Row) *Flags {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	return NewFlags(set, rows)
}

// NewFlags registers the options of a policy on fs. It sets the flag set's normalize
// function, which calls the one that was set before. If you set another one later, it
// must call this one.
func NewFlags(fs *pflag.FlagSet, policy []Row) *Flags {
	f := &Flags{set: fs, aliases: make(map[string]*flag)}
	before := fs.GetNormalizeFunc()
	fs.SetNormalizeFunc(func(fs *pflag.FlagSet, name string) pflag.NormalizedName {
		return f.normalize(before(fs, name))
	})
	for _, row := range policy {
		f.policy = append(f.policy, f.add(row))
	}
	return f
}

// Register adds an option of the program; annotations cannot give it. [Flags.Apply] sets
// its value, which is the default until then. The type "bool" makes a flag that needs no
// value. If the flag set already has the name or letter, pflag panics.
func (f *Flags) Register(row Row) {
	row.Default = row.Value.String()
	f.program = append(f.program, f.add(row))
}

// mentioned is an option of other flag sets, and why these do not have it.
type mentioned struct {
	Option
	why string
}

// Mention names options that other flag sets of the program have, and why these do not,
// unless that is the verb. If a file gives one, the error says so. Most runs need not know, so
// others is called when one does.
func (f *Flags) Mention(others func() []Option, why string) {
	f.mentions = append(f.mentions, func() []mentioned {
		var all []mentioned
		for _, o := range others() {
			all = append(all, mentioned{o, cmp.Or(why, notOfVerb)})
		}
		return all
	})
}

// others returns the options that were mentioned.
func (f *Flags) others() []mentioned {
	var all []mentioned
	for _, mention := range f.mentions {
		all = append(all, mention()...)
	}
	return all
}

// Mentioned returns why these flags do not have an option that was mentioned, by any of its
// long names, or "".
func (f *Flags) Mentioned(name string) string {
	for _, o := range f.others() {
		if o.Name == name || slices.Contains(o.Reference, name) || slices.Contains(o.FlagNames, name) {
			return o.why
		}
	}
	return ""
}

// Options returns all options, with those of the policy first.
func (f *Flags) Options() []Option { return append(f.Policy(), options(f.program)...) }

// Policy returns the options of the policy.
func (f *Flags) Policy() []Option { return options(f.policy) }

func options(flags []*flag) []Option {
	var all []Option
	for _, fl := range flags {
		all = append(all, fl.Option)
	}
	return all
}

// FileOption is the option that names the configuration file. The file cannot give it.
const FileOption = "config"

// AddFile adds the content of a configuration file: a YAML mapping from the names
// of options, as in [Flags.Options], to values or lists of values. The error has a line
// for every key that is not an option (see [errors.Join]). Apply and Read read the
// values.
func (f *Flags) AddFile(name string, text []byte) error {
	var errs []error
	f.file, errs = f.parseFile(name, text)
	return errors.Join(errs...)
}

// Apply sets the program's options from the flags, or else from the environment, which
// has the form of [os.Environ], or else from the file or the settings. The error has all errors, one a
// line (see [errors.Join]).
func (f *Flags) Apply(env []string) error {
	variables := parseEnvironment(env)
	var errs []error
	for _, fl := range f.program {
		all, _ := fl.find(given{env: variables, file: f.file, settings: f.settings})
		errs = append(errs, assign(fl.Value, all)...)
	}
	return errors.Join(errs...)
}

// Given returns where Apply or Read found an option, and its value, as messages name
// them: --output "json" or environment variable OUTPUT "json". It returns "" for an
// option that is not given.
func (f *Flags) Given(option string) string {
	for _, fl := range slices.Concat(f.policy, f.program) {
		if fl.Name == option && fl.from.IsExplicit() {
			return fl.from.String()
		}
	}
	return ""
}

func (f *Flags) add(row Row) *flag {
	fl := &flag{Row: row, text: row.Default}
	registered := f.set.VarPF(fl, row.Name, row.Letter, row.Usage)
	registered.Hidden = row.Hidden
	registered.NoOptDefVal = row.Bare
	if fl.Type() == boolKind {
		registered.NoOptDefVal = "true"
	}
	for _, name := range slices.Concat(row.Reference, row.FlagNames) {
		f.aliases[name] = fl
	}
	return fl
}

// normalize returns our name for any name. Errors should show the name that the user
// gave, so the flag remembers it: pflag sets a flag right after looking up its name.
func (f *Flags) normalize(name pflag.NormalizedName) pflag.NormalizedName {
	fl, ok := f.aliases[string(name)]
	if !ok {
		return name
	}
	fl.alias = string(name)
	return pflag.NormalizedName(fl.Name)
}

// flag is the pflag.Value of an option: the text as it was given.
type flag struct {
	Row
	// text is the default until the flag isSet, by name.
	text  string
	isSet bool
	name  string
	// earlier are the values that were set before.
	earlier []Given
	// alias is the name under which the flag was looked up, until it is set.
	alias string
	// from is what some source gave; the zero value if none did.
	from Given
}

// given is what all sources but the flags give, the highest first.
type given struct {
	env      environment
	file     file
	notes    annotations
	implied  file
	settings file
}

// find returns what is given for the option, by all its names, in the highest source that
// gives it, and remembers that source. It returns nothing if no source does. The warnings
// are about variables that only look like the option.
func (f *flag) find(in given) (all []Given, warnings []string) {
	all = f.given()
	if all == nil {
		all, warnings = in.env.given(f.Option)
	}
	for _, source := range []func(Option) []Given{in.file.given, in.notes.given, in.implied.given, in.settings.given} {
		if all == nil {
			all = source(f.Option)
		}
	}
	f.from = Given{}
	if all != nil {
		f.from = all[0]
	}
	return all, warnings
}

func (f *flag) Set(text string) error {
	switch {
	case f.AddsUp && f.isSet && f.text != "" && text != "":
		text = f.text + "," + text
	case f.AddsUp && f.isSet:
		text += f.text
	default:
		f.earlier = append(f.earlier, f.given()...)
	}
	f.text, f.isSet = text, true
	f.name, f.alias = cmp.Or(f.alias, f.Name), ""
	return nil
}

func (f *flag) String() string { return f.text }
func (f *flag) Type() string   { return f.Value.Type() }

func (f *flag) given() []Given {
	if !f.isSet {
		return nil
	}
	return []Given{{ByFlag, "--" + f.name, f.text}}
}
