package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// The kinds of value here read text, and print what they have read so that
// reading it again gives the same. A value that is refused changes nothing.

// everything, alone, selects all there is.
const everything = "*"

// scalar is one thing.
type scalar[T any] struct {
	target *T
	kind   string // what --help calls it
	parse  func(string) (T, error)
	print  func(T) string
}

func (v scalar[T]) Set(text string) error {
	x, err := v.parse(text)
	if err != nil {
		return err
	}
	*v.target = x
	return nil
}

func (v scalar[T]) String() string { return v.print(*v.target) }
func (v scalar[T]) Type() string   { return v.kind }

// list is any number of things, separated by commas. One that is given again counts
// once.
type list[T comparable] struct {
	target *[]T
	kind   string // what --help calls it
	must   string // what the items have to be, after "must be"
	// parse returns errors that go on after the item, such as "is not a port".
	parse func(string) (T, error)
	print func(T) string
	// check, if not nil, looks at the list as a whole.
	check func([]T) error
}

func (v list[T]) Set(text string) error {
	items, err := v.items(text)
	items = distinct(items)
	if err == nil && v.check != nil {
		err = v.check(items)
	}
	if err != nil {
		return fmt.Errorf("must be %s, separated by commas; %w", v.must, err)
	}
	*v.target = items
	return nil
}

// distinct returns the items without those that are there before.
func distinct[T comparable](items []T) []T {
	once, _ := divide(items)
	return once
}

// divide returns each item once, and those that are there again.
func divide[T comparable](items []T) (once, again []T) {
	known := make(map[T]bool, len(items))
	for _, x := range items {
		if known[x] {
			again = append(again, x)
			continue
		}
		known[x] = true
		once = append(once, x)
	}
	return once, again
}

// repeated returns the items that a text, which Set has taken, has more than once.
func (v list[T]) repeated(text string) string {
	if strings.Count(text, ",") < len(*v.target) {
		// There are thousands at times.
		return ""
	}
	items, _ := v.items(text)
	_, again := divide(items)
	again = distinct(again)
	return list[T]{target: &again, print: v.print}.String()
}

// items reads all items, or tells what is wrong with each that it cannot read.
func (v list[T]) items(text string) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var items []T
	var errs itemErrors
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		item, err := v.parseItem(word)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q %w", word, err))
			continue
		}
		items = append(items, item)
	}
	if errs != nil {
		return nil, errs
	}
	return items, nil
}

func (v list[T]) parseItem(word string) (T, error) {
	var none T
	switch word {
	case "":
		return none, errors.New("is an empty item")
	case everything:
		return none, errors.New("cannot be part of a list")
	}
	return v.parse(word)
}

func (v list[T]) String() string {
	words := make([]string, len(*v.target))
	for i, x := range *v.target {
		words[i] = v.print(x)
	}
	return strings.Join(words, ",")
}

func (v list[T]) Type() string { return v.kind }

// itemErrors are errors of one list. They stay on one line, because they are one
// error of one option.
type itemErrors []error

func (e itemErrors) Error() string {
	words := make([]string, len(e))
	for i, err := range e {
		words[i] = err.Error()
	}
	return strings.Join(words, ", ")
}

func (e itemErrors) Unwrap() []error { return e }

// selection is everything or a list.
type selection[T comparable] struct {
	all  *bool
	list list[T]
}

func newSelection[T comparable](all *bool, l list[T]) selection[T] {
	l.must = everything + " or " + l.must
	return selection[T]{all, l}
}

func (v selection[T]) Set(text string) error {
	if strings.TrimSpace(text) == everything {
		*v.all, *v.list.target = true, nil
		return nil
	}
	if err := v.list.Set(text); err != nil {
		return err
	}
	*v.all = false
	return nil
}

func (v selection[T]) String() string {
	if *v.all {
		return everything
	}
	return v.list.String()
}

func (v selection[T]) Type() string { return v.list.kind }

func (v selection[T]) repeated(text string) string {
	if *v.all {
		return ""
	}
	return v.list.repeated(text)
}

// BoolValue returns a value that is true or false, in any form that
// [strconv.ParseBool] takes.
func BoolValue(target *bool) pflag.Value {
	return scalar[bool]{target, boolKind, parseBool, strconv.FormatBool}
}

// boolKind is also what pflag calls the type of a flag that needs no value.
const boolKind = "bool"

func parseBool(text string) (bool, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("must be true or false")
	}
	return b, nil
}

// StringValue returns a value that is any text; kind is what --help calls it.
func StringValue(kind string, target *string) pflag.Value {
	return scalar[string]{target, kind, func(text string) (string, error) { return text, nil }, sameText}
}

// FileValue returns a value that names a file or the like: it cannot be empty, as it is
// where a script's variable is not set. kind is what --help calls it.
func FileValue(kind string, target *string) pflag.Value {
	parse := func(text string) (string, error) {
		if text == "" {
			return "", errors.New("must not be empty: leave it out")
		}
		return text, nil
	}
	return scalar[string]{target, kind, parse, sameText}
}

func sameText(text string) string { return text }

// ChoiceValue returns a value that is exactly one of those allowed; kind is what
// --help calls it.
func ChoiceValue[T ~string](kind string, target *T, allowed ...T) pflag.Value {
	parse := func(text string) (T, error) {
		if !slices.Contains(allowed, T(text)) {
			return "", fmt.Errorf("must be %s", alternatives(allowed))
		}
		return T(text), nil
	}
	return scalar[T]{target, kind, parse, func(x T) string { return string(x) }}
}

// alternatives returns "a", "a or b", "a, b or c".
func alternatives[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}
