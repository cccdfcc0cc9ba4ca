package config

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// List is any number of items, separated by commas. Duplicates count once.
type List[T comparable] struct {
	Target *[]T
	// Kind is what --help calls it, such as "ports".
	Kind string
	// Must says what the items must be; it follows "must be" in messages.
	Must string
	// Parse reads an item. Its errors follow the item in messages, such as "is not a
	// port".
	Parse func(string) (T, error)
	Print func(T) string
	// OfAll, if not empty, is what is wrong with [Everything] as an item; it follows the item
	// in messages.
	OfAll string
	// Check, if not nil, checks the list as a whole.
	Check func([]T) error
}

// Words returns a value that is a list of words; kind is what --help calls it.
func Words(kind string, target *[]string) pflag.Value {
	return List[string]{Target: target, Kind: kind, Must: "words", Parse: func(word string) (string, error) { return word, nil }, Print: sameText}
}

// Set reads a list. The error names every item that cannot be read.
func (v List[T]) Set(text string) error {
	items, err := v.items(text)
	items = Distinct(items)
	if err == nil && v.Check != nil {
		err = v.Check(items)
	}
	if err != nil {
		return fmt.Errorf("must be %s, separated by commas; %w", v.Must, err)
	}
	*v.Target = items
	return nil
}

// Distinct returns the items without duplicates, in order.
func Distinct[T comparable](items []T) []T {
	once, _ := divide(items)
	return once
}

// divide returns each item once, and the duplicates.
func divide[T comparable](items []T) (once, again []T) {
	if len(items) == 0 {
		return nil, nil
	}
	known := make(map[T]struct{}, len(items))
	once = make([]T, 0, len(items))
	for _, x := range items {
		known[x] = struct{}{}
		if len(known) > len(once) {
			once = append(once, x)
		} else {
			again = append(again, x)
		}
	}
	return once, again
}

// repeated returns the items that are in a text more than once; Set has accepted it.
func (v List[T]) repeated(text string) string {
	if strings.Count(text, ",") < len(*v.Target) {
		// Lists can have thousands of items.
		return ""
	}
	items, _ := v.items(text)
	_, again := divide(items)
	again = Distinct(again)
	return List[T]{Target: &again, Print: v.Print}.String()
}

// items reads all items. The error says what is wrong with each that it cannot read.
func (v List[T]) items(text string) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	items := make([]T, 0, strings.Count(text, ",")+1)
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

func (v List[T]) parseItem(word string) (T, error) {
	var none T
	switch word {
	case "":
		return none, errors.New("is an empty item")
	case Everything:
		return none, errors.New(cmp.Or(v.OfAll, "cannot be part of a list"))
	}
	return v.Parse(word)
}

// String returns the items with commas between them.
func (v List[T]) String() string {
	var b strings.Builder
	for i, x := range *v.Target {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(v.Print(x))
	}
	return b.String()
}

// Type returns Kind.
func (v List[T]) Type() string { return v.Kind }

// itemErrors are the errors in one list. They stay on one line: they are one error of
// one option.
type itemErrors []error

func (e itemErrors) Error() string {
	words := make([]string, len(e))
	for i, err := range e {
		words[i] = err.Error()
	}
	return strings.Join(words, ", ")
}

func (e itemErrors) Unwrap() []error { return e }
