// Package config reads what a user asks for, from command line flags, the
// environment, a configuration file and an annotation file.
//
// It knows no option. A policy has options of its own, and so has the program: rows,
// each with the names of an option in all sources, its default, and the value that
// takes what is given. [NewFlags] makes flags of a policy's rows, [Flags.Read] sets
// their values by all sources, and [Reading] tells the policy where each comes from.
// All errors of all sources are reported at once.
package config
