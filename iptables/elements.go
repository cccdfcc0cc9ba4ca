package iptables

import (
	"slices"
	"strings"
)

// Element is an element of a set of nft: an interval for each of its keys.
type Element []Interval

// Elements are those of a set, which values can be looked up in.
type Elements struct {
	list []Element
	// exact has the elements with one value for each key, by their values; ranges are
	// the others.
	exact  map[string]int
	ranges []int
}

// NewElements returns elements that all have an interval for each key.
func NewElements(list []Element) Elements {
	e := Elements{list: list, exact: make(map[string]int)}
	for i, element := range list {
		if key, ok := element.key(); ok {
			e.exact[key] = i
		} else {
			e.ranges = append(e.ranges, i)
		}
	}
	return e
}

// key returns the values of an element that has one for each key.
func (e Element) key() (key string, ok bool) {
	var b strings.Builder
	for _, i := range e {
		if i.First != i.Last {
			return "", false
		}
		b.WriteString(string(i.First))
	}
	return b.String(), true
}

// may reports whether the element may be the one for values.
func (e Element) may(values []loaded) bool {
	for i, v := range values {
		if v.possible.First != "" && (v.possible.Last < e[i].First || e[i].Last < v.possible.First) {
			return false
		}
	}
	return true
}

// find returns the elements of which one may be the one for values, and whether one of
// them certainly is.
func (e *Elements) find(values []loaded) (found []int, certain bool) {
	if key, ok := keyOf(values); ok {
		if i, ok := e.exact[key]; ok {
			return []int{i}, true
		}
		for _, i := range e.ranges {
			if e.list[i].may(values) {
				return []int{i}, true
			}
		}
		return nil, true
	}
	for i, element := range e.list {
		if element.may(values) {
			found = append(found, i)
		}
	}
	return found, len(found) == 0 || e.cover(found, values)
}

// keyOf returns values that are all known.
func keyOf(values []loaded) (key string, ok bool) {
	if !slices.ContainsFunc(values, func(l loaded) bool { return !l.isKnown() }) {
		var b strings.Builder
		for _, v := range values {
			b.WriteString(string(v.possible.First))
		}
		return b.String(), true
	}
	return "", false
}

// cover reports whether elements have every possible value of the only key.
func (e *Elements) cover(found []int, values []loaded) bool {
	if len(values) != 1 || values[0].possible.First == "" {
		return false
	}
	var all []Interval
	for _, i := range found {
		all = append(all, e.list[i][0])
	}
	want := values[0].possible
	return slices.ContainsFunc(union(all, true), func(i Interval) bool {
		return i.Contains(want.First) && i.Contains(want.Last)
	})
}
