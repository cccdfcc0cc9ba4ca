// Package soak says how much of a long test runs. What takes long because it repeats
// the same with other values runs as a fixed sample, which has every kind in it, and
// whole in "make soak".
package soak

import "os"

// variable is the environment variable that is set by "make soak".
const variable = "MESHTABLES_SOAK"

// Whole reports whether everything runs.
func Whole() bool { return os.Getenv(variable) != "" }

// Times returns how often something is repeated.
func Times(sample, whole int) int {
	if Whole() {
		return whole
	}
	return sample
}

// Turn reports whether a case, by its number, runs in one of several variants, such as
// backends: each case does in one of them, in turn, or in all.
func Turn(number, variant, variants int) bool { return Whole() || number%variants == variant }
