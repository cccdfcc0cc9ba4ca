package iptables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Comment is the match "comment". Every packet matches it; people read it.
type Comment struct {
	// Text is up to [MaxComment] bytes without NUL and newline.
	Text string
}

// MaxComment is the longest comment in bytes: XT_MAX_COMMENT_LEN
// (linux/netfilter/xt_comment.h) less its NUL.
const MaxComment = 255

// commentName is the match's name, also where it is an [UnknownMatch].
const commentName = "comment"

func (m Comment) appendSave(words []string) []string {
	return append(words, "-m", commentName, "--comment", Quote(m.Text))
}

// MetBy returns true.
func (Comment) MetBy(*Packet) (bool, error) { return true, nil }

func parseComment(args []arg) Match {
	if len(args) != 1 || args[0].name != "--comment" {
		return nil
	}
	m := Comment{unquote(args[0].value)}
	if m.Validate() != nil {
		return nil
	}
	return m
}

// Validate returns an error for text that a comment cannot have.
func (m Comment) Validate() error {
	if len(m.Text) > MaxComment {
		return fmt.Errorf("the comment is longer than %d bytes", MaxComment)
	}
	// iptables-save would print a newline as it is, in the middle of a rule.
	if strings.ContainsAny(m.Text, "\x00\n") {
		return errors.New("the comment has a NUL or a newline")
	}
	return nil
}

func (m Comment) validate(*Rule) error { return m.Validate() }

// isComment reports whether a match asks nothing of packets.
func isComment(m Match) bool {
	if u, ok := m.(UnknownMatch); ok {
		return u.Name == commentName
	}
	_, ok := m.(Comment)
	return ok
}

// Uncommented returns the rule without its comments, which packets do not see.
func (r Rule) Uncommented() Rule {
	if slices.ContainsFunc(r.Matches, isComment) {
		r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), isComment)
	}
	return r
}

// Commented returns the rule with its origin as its only comment, after all other
// matches. A rule without an origin gets no comment.
func (r Rule) Commented() Rule {
	r = r.Uncommented()
	if r.Origin != (Origin{}) {
		r.Matches = append(slices.Clip(r.Matches), Comment{r.Origin.Comment(MaxComment)})
	}
	return r
}

// Commented applies [Rule.Commented] to every rule.
func (rs *Ruleset) Commented() Ruleset {
	return rs.Map(func(_ *Chain, r Rule) Rule { return r.Commented() })
}

// Uncommented applies [Rule.Uncommented] to every rule.
func (rs *Ruleset) Uncommented() Ruleset {
	return rs.Map(func(_ *Chain, r Rule) Rule { return r.Uncommented() })
}

// HasComments reports whether any rule has a comment.
func (rs *Ruleset) HasComments() bool {
	return rs.HasRule(func(_ *Table, _ *Chain, r *Rule) bool { return slices.ContainsFunc(r.Matches, isComment) })
}

// Quote writes a string as iptables-save does (xtables_save_string in
// libxtables/xtables.c).
func Quote(s string) string {
	plain := func(r rune) bool {
		return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, `'`, `\'`).Replace(s) + `"`
}

// unquote undoes Quote.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\'`, `'`).Replace(s[1 : len(s)-1])
}
