// Package soak says how much of a long test runs. A test that takes long because it
// repeats itself with other values runs a fixed sample with every kind in it, and
// everything in "make soak".
package soak

import "os"

// variable is the environment variable that "make soak" sets.
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

// Turn reports whether a case, by its number, runs in a variant, such as a backend. Each
// case runs in one variant, in turn, or in all.
func Turn(number, variant, variants int) bool { return Whole() || number%variants == variant }
