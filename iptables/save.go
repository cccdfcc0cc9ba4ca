package iptables

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// String returns the rule as iptables-save prints it, without "-A" and the chain's name.
func (r Rule) String() string {
	return strings.Join(r.appendSave(make([]string, 0, 16)), " ")
}

func (r *Rule) appendSave(words []string) []string {
	words = appendAddress(words, "-s", r.Source)
	words = appendAddress(words, "-d", r.Destination)
	words = appendInterface(words, "-i", r.In)
	words = appendInterface(words, "-o", r.Out)
	if r.Protocol != (ProtocolMatch{}) {
		words = append(appendNot(words, r.Protocol.Not), "-p", string(r.Protocol.Protocol))
	}
	for _, m := range r.Matches {
		words = m.appendSave(words)
	}
	if r.Target != nil {
		words = r.Target.appendSave(words)
	}
	return words
}

// Lines returns the text of each rule as [Rule.String] does, faster for thousands of them.
func (c *Chain) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		var words []string
		for i := range c.Rules {
			words = c.Rules[i].appendSave(words[:0])
			if !yield(strings.Join(words, " ")) {
				return
			}
		}
	}
}

// PrefixText is [netip.Prefix.String] with one allocation instead of several.
func PrefixText(p netip.Prefix) string {
	var b [len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")]byte
	return string(p.AppendTo(b[:0]))
}

func appendAddress(words []string, option string, a Address) []string {
	if a == (Address{}) {
		return words
	}
	return append(appendNot(words, a.Not), option, PrefixText(a.Prefix))
}

func appendInterface(words []string, option string, i Interface) []string {
	if i == (Interface{}) {
		return words
	}
	return append(appendNot(words, i.Not), option, i.Name)
}

// Save returns the tables of one family as iptables-save prints them, without its comment
// lines, with counters of policies and without those of rules.
func (rs *Ruleset) Save(family Family) string {
	var b strings.Builder
	var words []string
	for _, t := range rs.Tables {
		if t.Family != family {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t.Name)
		for _, c := range t.Chains {
			policy := c.Policy
			if policy == "" {
				policy = "-"
			}
			fmt.Fprintf(&b, ":%s %s [%d:%d]\n", c.Name, policy, c.Counters.Packets, c.Counters.Bytes)
		}
		for _, c := range t.Chains {
			for i := range c.Rules {
				words = c.Rules[i].appendSave(append(words[:0], "-A", c.Name))
				for n, word := range words {
					if n > 0 {
						b.WriteByte(' ')
					}
					b.WriteString(word)
				}
				b.WriteByte('\n')
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}
