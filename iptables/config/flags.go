package config

import (
	"cmp"
	"errors"

	"github.com/spf13/pflag"
)

// Flags are the options of a flag set: those that make a [Config], and others
// that [Flags.Register] adds.
//
// A flag takes any text while the command line is parsed. [Flags.Apply] and
// [Flags.Config] read it, so that all bad values are reported, not the first. Of
// a flag that is given several times, or by several names, the last counts.
type Flags struct {
	set     *pflag.FlagSet
	capture []captureFlag
	plain   []plainFlag
	file    file
	// aliases leads from the reference's names to the flags.
	aliases map[string]*flag
	// others are options that these flags do not have.
	others []Option
}

type captureFlag struct {
	*flag
	value func(*draft) pflag.Value
}

type plainFlag struct {
	*flag
	value pflag.Value
}

// NewFlags registers the options that make a [Config] on fs. It sets the flag
// set's normalize function, after which it calls one that was set before; who
// sets another one later has to do the same.
func NewFlags(fs *pflag.FlagSet) *Flags {
	f := &Flags{set: fs, aliases: make(map[string]*flag)}
	before := fs.GetNormalizeFunc()
	fs.SetNormalizeFunc(func(fs *pflag.FlagSet, name string) pflag.NormalizedName {
		return f.normalize(before(fs, name))
	})
	for _, o := range captureOptions() {
		kind := o.value(&draft{}).Type()
		f.capture = append(f.capture, captureFlag{f.add(o.Option, kind), o.value})
	}
	return f
}

// Register adds an option that is no part of [Config]. [Flags.Apply] sets its
// value; until then it holds the default. Its Set has to replace what was set
// before. The type "bool" makes a flag that needs no value. A name or letter that
// the flag set already has is a panic of pflag's.
func (f *Flags) Register(o Option, value pflag.Value) {
	o.Default = value.String()
	f.plain = append(f.plain, plainFlag{flag: f.add(o, value.Type()), value: value})
}

// Mention tells of options that other flag sets of the program have, so that an
// error about one of them in a file can say so.
func (f *Flags) Mention(others []Option) { f.others = others }

// Options returns all options, with those that make a [Config] first.
func (f *Flags) Options() []Option {
	var options []Option
	for _, fl := range f.all() {
		options = append(options, fl.option)
	}
	return options
}

// FileOption is the option that names the configuration file. The file itself
// cannot give it.
const FileOption = "config"

// AddFile adds the content of a configuration file: a YAML mapping from the names
// of options, as [Flags.Options] has them, to their values, of which a list may be one
// too. It is strict: the error has all keys that are no options (see
// [errors.Join]), each a line. The values are read by Apply and Config.
func (f *Flags) AddFile(name string, text []byte) error {
	var errs []error
	f.file, errs = parseFile(name, text, f.checkKey)
	return errors.Join(errs...)
}

// Apply sets the values of the registered options from the flags or else from
// the environment, which has the form of [os.Environ], or else from the file. The
// error has all errors (see [errors.Join]), each a line.
func (f *Flags) Apply(env []string) error {
	variables := parseEnvironment(env)
	var errs []error
	for i := range f.plain {
		p := &f.plain[i]
		all := p.given()
		if all == nil {
			all, _ = variables.given(p.option)
		}
		if all == nil {
			all = f.file.given(p.option)
		}
		p.take(all)
		errs = append(errs, assign(p.value, all)...)
	}
	return errors.Join(errs...)
}

// Given returns where Apply or Config took the value of an option from, and the value,
// as messages name them: --output "json" or environment variable OUTPUT "json". It
// returns "" for an option that is not given.
func (f *Flags) Given(option string) string {
	for _, fl := range f.all() {
		if fl.option.Name == option && fl.from != (given{}) {
			return fl.from.String()
		}
	}
	return ""
}

func (f *Flags) all() []*flag {
	var all []*flag
	for _, c := range f.capture {
		all = append(all, c.flag)
	}
	for _, p := range f.plain {
		all = append(all, p.flag)
	}
	return all
}

func (f *Flags) add(o Option, kind string) *flag {
	fl := &flag{option: o, kind: kind, text: o.Default}
	registered := f.set.VarPF(fl, o.Name, o.Letter, o.Usage)
	registered.Hidden = o.Hidden
	if kind == boolKind {
		registered.NoOptDefVal = "true"
	}
	for _, name := range o.Reference {
		f.aliases[name] = fl
	}
	return fl
}

// normalize makes our name of any name. pflag sets a flag right after looking up
// its name, which is how the flag learns by which name it was given: an error
// should show the user's own words.
func (f *Flags) normalize(name pflag.NormalizedName) pflag.NormalizedName {
	fl, ok := f.aliases[string(name)]
	if !ok {
		return name
	}
	fl.alias = string(name)
	return pflag.NormalizedName(fl.option.Name)
}

// flag is the pflag.Value of an option: the text as it was given.
type flag struct {
	option Option
	kind   string
	// text is the default until the flag isSet by name.
	text  string
	isSet bool
	name  string
	// alias is the name under which the flag was looked up, until it is set.
	alias string
	// from is what the value was taken from, by whatever source; the zero value
	// where none gives it.
	from given
}

// take notes where the value comes from: what all sources of one authority give, or
// nothing.
func (f *flag) take(all []given) {
	f.from = given{}
	if len(all) > 0 {
		f.from = all[0]
	}
}

func (f *flag) Set(text string) error {
	f.text, f.isSet = text, true
	f.name, f.alias = cmp.Or(f.alias, f.option.Name), ""
	return nil
}

func (f *flag) String() string { return f.text }
func (f *flag) Type() string   { return f.kind }

func (f *flag) given() []given {
	if !f.isSet {
		return nil
	}
	return []given{{byFlag, "--" + f.name, f.text}}
}
