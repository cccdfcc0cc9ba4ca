// Package iptables is the model of what meshtables writes into the kernel: the
// tables, chains, rules, matches and targets of iptables, for both address
// families, as typed values.
//
// A [Ruleset] is the one thing the other packages exchange. capture makes one
// from the options; the packages below kernel load one from the kernel and
// replace one by another; explain walks a packet through one. This package
// itself knows three things about it: how iptables-save writes it, which is
// also what its parser reads ([Ruleset.Save], [ParseSave]); when two of them are
// the same ([Rule.Equal], [Table.Equal]); and which part of it is ours by what a policy
// says ([Ownership]).
//
// The names are those of iptables(8) and iptables-extensions(8).
package iptables
