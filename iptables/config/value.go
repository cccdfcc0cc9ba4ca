package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// The values of this package read text. What they print can be read again and gives the
// same. A wrong value changes nothing.

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

// Bool returns a value that is true or false, as [strconv.ParseBool] reads them.
func Bool(target *bool) pflag.Value {
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

// Text returns a value that is any text; kind is what --help calls it.
func Text(kind string, target *string) pflag.Value {
	return scalar[string]{target, kind, func(text string) (string, error) { return text, nil }, sameText}
}

// File returns a value that names a file or the like. An empty one is an error: it is
// likely a script's variable that is not set. kind is what --help calls it.
func File(kind string, target *string) pflag.Value {
	parse := func(text string) (string, error) {
		if text == "" {
			return "", errors.New("must not be empty: leave the option out")
		}
		return text, nil
	}
	return scalar[string]{target, kind, parse, sameText}
}

func sameText(text string) string { return text }

// Choice returns a value that is one of the allowed words; kind is what --help calls
// it.
func Choice[T ~string](kind string, target *T, allowed ...T) pflag.Value {
	parse := func(text string) (T, error) {
		if !slices.Contains(allowed, T(text)) {
			return "", fmt.Errorf("must be %s", alternatives(allowed))
		}
		return T(text), nil
	}
	return scalar[T]{target, kind, parse, func(x T) string { return string(x) }}
}

// WithSynonyms returns a value that takes other words too, for those that it takes.
func WithSynonyms(v pflag.Value, words map[string]string) pflag.Value { return synonyms{v, words} }

type synonyms struct {
	pflag.Value
	words map[string]string
}

func (v synonyms) Set(text string) error {
	if word, ok := v.words[text]; ok {
		text = word
	}
	return v.Value.Set(text)
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

// Number returns a value that is a positive 32-bit number, such as a mark.
func Number(target *uint32) pflag.Value {
	return number(target, func(uint32) error { return nil })
}

// RoutingTable returns a value that is the number of a routing table, but not one of the
// system's.
func RoutingTable(target *uint32) pflag.Value {
	return number(target, func(n uint32) error {
		// RT_TABLE_DEFAULT, _MAIN and _LOCAL in linux/rtnetlink.h.
		if 253 <= n && n <= 255 {
			return errors.New("must not be 253, 254 or 255: these are the system's routing tables")
		}
		return nil
	})
}

func number(target *uint32, check func(uint32) error) pflag.Value {
	parse := func(text string) (uint32, error) {
		n, ok := parsePositive(text)
		if !ok {
			return 0, fmt.Errorf("must be a number from 1 to %d, decimal or hexadecimal (0x539)", uint32(math.MaxUint32))
		}
		return n, check(n)
	}
	return scalar[uint32]{target, "number", parse, formatID}
}

// parsePositive reads a positive 32-bit number, decimal or hexadecimal.
func parsePositive(text string) (n uint32, ok bool) {
	base := 10
	digits, isHex := strings.CutPrefix(strings.ToLower(text), "0x")
	if isHex {
		base = 16
	}
	parsed, err := strconv.ParseUint(digits, base, 32)
	return uint32(parsed), err == nil && parsed != 0
}

func formatID(id uint32) string { return strconv.FormatUint(uint64(id), 10) }
