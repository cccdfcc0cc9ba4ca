package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// annotations are those of the pod.
type annotations map[string]string

// parseAnnotations reads what the downward API writes: lines key="value", with
// the value quoted by strconv.Quote (FormatMap in pkg/fieldpath/fieldpath.go of
// Kubernetes).
func parseAnnotations(file []byte) (annotations, []error) {
	a := make(annotations)
	var errs []error
	number := 0
	for line := range bytes.Lines(file) {
		number++
		text := strings.TrimSuffix(string(line), "\n")
		if text == "" {
			continue
		}
		key, value, err := parseAnnotation(text)
		if _, twice := a[key]; err == nil && twice {
			err = fmt.Errorf("must not repeat the key %s", key)
		}
		if err != nil {
			errs = append(errs, &ValueError{fmt.Sprintf("annotation file, line %d", number), Shorten(text), err})
			continue
		}
		a[key] = value
	}
	return a, errs
}

func parseAnnotation(line string) (key, value string, err error) {
	key, quoted, _ := strings.Cut(line, "=")
	if key == "" || strings.ContainsAny(key, " \t\"") || !strings.HasPrefix(quoted, `"`) {
		return "", "", errAnnotation
	}
	value, err = strconv.Unquote(quoted)
	if err != nil {
		return "", "", errAnnotation
	}
	return key, value, nil
}

var errAnnotation = errors.New(`must be key="value", quoted as the downward API does it`)

// get returns the annotation of that key. An empty one counts as given: that is how
// a list is emptied.
func (a annotations) get(key string) (Given, bool) {
	text, ok := a[key]
	return Given{ByAnnotation, "annotation " + key, text}, ok
}

// given returns what the annotations say about an option.
func (a annotations) given(o Option) []Given {
	var all []Given
	for _, key := range o.Annotations {
		if g, ok := a.get(key); ok {
			all = append(all, g)
		}
	}
	switch {
	case len(all) < 2:
		return all
	case !o.AddsUp:
		return all[:1]
	}
	return []Given{sum(all)}
}

// sum returns what lists in several annotations say together.
func sum(all []Given) Given {
	one := all[0]
	for _, g := range all[1:] {
		one.Source += " and " + g.Source
		if g.Text != "" {
			one.Text = strings.TrimPrefix(one.Text+","+g.Text, ",")
		}
	}
	return one
}

// Shorten cuts a text to a length that fits a message: an annotation may hold a whole
// manifest.
func Shorten(line string) string {
	const most = 60
	if len(line) <= most {
		return line
	}
	return line[:most] + "..."
}
