// Package iptables is the model of what meshtables writes into the kernel: the
// tables, chains, rules, matches and targets of iptables, for both address
// families, as typed values.
//
// The other packages exchange a [Ruleset]. capture makes one from the options. The
// packages below kernel read one from the kernel and replace it. explain walks a packet
// through one. This package knows three things about it: how iptables-save writes it
// ([Ruleset.Save], [ParseSave]), when two of them are the same ([Rule.Equal],
// [Table.Equal]), and which part of it a policy owns ([Ownership]).
//
// The names are those of iptables(8) and iptables-extensions(8).
package iptables
