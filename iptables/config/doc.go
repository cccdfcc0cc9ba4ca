// Package config reads what a user asks for, from command line flags, the
// environment, a configuration file, annotations and an operator's settings.
//
// It knows no option. A policy and the program each have rows: an option's names in
// all sources, its default, and the value that reads what is given. [NewFlags] makes
// flags from a policy's rows, [Flags.Read] sets their values from all sources, and
// [Reading] says where each value comes from. All errors of all sources are reported
// at once.
package config
