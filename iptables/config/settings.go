package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AddSettings adds what an operator sets for many pods, which a pod's annotations override: a
// JSON object from the names of options, as in [Flags.Options], to values or lists of values.
// name is what messages call the object. The error has a line for every key that is not an
// option (see [errors.Join]). Apply and Read read the values.
func (f *Flags) AddSettings(name string, text []byte) error {
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return fmt.Errorf("%s: must be an object of options with their values%s", name, f.exampleOfSettings())
	}
	f.settings = make(file)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(values)) {
		source := name + "." + key
		text, ok := settingText(values[key])
		err := f.checkKey("here", key)
		switch {
		case errors.Is(err, errNoOption):
			errs = append(errs, &ValueError{source, text, fmt.Errorf("%w\nhint: these are %s", err, strings.Join(f.settable(), ", "))})
		case err != nil:
			errs = append(errs, &ValueError{source, text, err})
		case !ok:
			errs = append(errs, fmt.Errorf("%s: must be a value or a list of values", source))
		default:
			f.settings[key] = Given{BySetting, source, text}
		}
	}
	return errors.Join(errs...)
}

// settingText returns a value as a flag would have it.
func settingText(value any) (text string, ok bool) {
	switch value := value.(type) {
	case []any:
		words := make([]string, len(value))
		for i, item := range value {
			if words[i], ok = settingText(item); !ok || strings.Contains(words[i], ",") {
				return "", false
			}
		}
		return strings.Join(words, ","), true
	case string, bool, json.Number:
		return fmt.Sprint(value), true
	}
	return "", false
}

// settable returns the names of the options that settings can give.
func (f *Flags) settable() []string {
	var names []string
	for _, o := range f.Options() {
		if f.checkKey("", o.Name) == nil {
			names = append(names, o.Name)
		}
	}
	return names
}

// exampleOfSettings returns an example of settings, as the end of a message.
func (f *Flags) exampleOfSettings() string {
	for _, o := range f.Policy() {
		if o.Example != "" {
			return fmt.Sprintf(", such as {%q: %q}", o.Name, o.Example)
		}
	}
	return ""
}
