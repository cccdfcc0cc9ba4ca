// Package compact rewrites rulesets into fewer rules that do the same to every
// packet.
//
// A plan has a rule for each port, prefix or id of a list, as the reference
// writes it. [Sets] makes the native form of nf_tables of it, in which a list is
// one match whatever its length; [Multiport] keeps to iptables and groups the
// ports of long lists. Both are pure, and what they return is what is loaded,
// compared, verified and explained from then on.
//
// Rules are moved only over rules that they share no packet with, or that do the
// same to those they share (see commute).
package compact
