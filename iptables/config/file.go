package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/meshtables/meshtables/iptables/internal/lazy"
)

// file holds what a configuration file gives, by the name of the option.
type file map[string]Given

// parseFile reads a YAML mapping from names of options to their values: text,
// numbers, booleans, or lists of these.
func (f *Flags) parseFile(name string, text []byte) (file, []error) {
	found := make(file)
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return found, nil
	}
	if err != nil {
		return nil, []error{f.notYAML(name, text, err)}
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, []error{fmt.Errorf("configuration file %s: must be one YAML document, but there is another after ---", name)}
	}
	root := document.Content[0]
	if isNull(root) {
		return found, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, []error{fmt.Errorf("configuration file %s, line %d: must be options with their values%s", name, root.Line, f.exampleOfFile())}
	}
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		source := fmt.Sprintf("configuration file %s, line %d, %s", name, key.Line, key.Value)
		_, twice := found[key.Value]
		text, ok := fileText(value)
		err := f.checkKey("in a file", key.Value)
		switch {
		case err != nil:
			errs = append(errs, &ValueError{source, text, err})
		case twice:
			errs = append(errs, &ValueError{source, text, errors.New("must be given only once")})
		case !ok:
			errs = append(errs, fmt.Errorf("%s: must be a value or a list of values", source))
		default:
			found[key.Value] = Given{ByFile, source, text}
		}
	}
	return found, errs
}

// fileText returns a value as a flag would have it.
func fileText(value *yaml.Node) (text string, ok bool) {
	switch value.Kind {
	case yaml.ScalarNode:
		if isNull(value) {
			return "", true
		}
		return value.Value, true
	case yaml.SequenceNode:
		words := make([]string, len(value.Content))
		for i, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", false
			}
			words[i] = item.Value
		}
		return strings.Join(words, ","), true
	}
	return "", false
}

// isNull reports whether a node is "null", or nothing.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// bareStar is the value * without quotes, which begins an alias in YAML.
var bareStar = lazy.Regexp(`(?m)^([^#\n"']*[:\-[,][ \t]+|[^#\n"']*\[)\*`)

// notYAML returns the error for text that cannot be read.
func (f *Flags) notYAML(name string, text []byte, err error) error {
	err = fmt.Errorf("configuration file %s: %w", name, err)
	if at := bareStar().FindIndex(text); at != nil {
		line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
		err = fmt.Errorf("%w; a * has to be in quotes%s (line %d)", err, f.exampleOfStar(), line)
	}
	return err
}

// exampleOfFile returns an example of a file's line, as the end of a message.
func (f *Flags) exampleOfFile() string {
	for _, o := range f.Policy() {
		if o.Example != "" {
			return fmt.Sprintf(", such as %q", o.Name+": "+o.Example)
		}
	}
	return ""
}

// exampleOfStar returns how a file selects everything, as the end of a message.
func (f *Flags) exampleOfStar() string {
	for _, o := range f.Policy() {
		if o.Default == Everything {
			return fmt.Sprintf(", as in %s: %q", o.Name, Everything)
		}
	}
	return ""
}

// given returns what the file says about an option.
func (f file) given(o Option) []Given {
	if g, ok := f[o.Name]; ok {
		return []Given{g}
	}
	return nil
}
