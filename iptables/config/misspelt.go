package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/internal/lazy"
)

// Misspelt returns a sentence, with a hint on a line of its own, for each variable that is
// likely a misspelt one of an option: nothing else tells of it. env has the form of
// [os.Environ].
//
// Such a variable begins with our prefix or with one of the reference's, and the rest is
// nearly that of an option. Those that begin with a foreign prefix belong to somebody else.
func (f *Flags) Misspelt(env, reference, foreign []string) []string {
	var known, all []string
	variables := parseEnvironment(env)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		g, _ := variables.get(name)
		prefix := beginning(name, append([]string{variablePrefix}, reference...))
		if prefix == "" || beginning(name, foreign) != "" || isOfService(name, g.Text) {
			continue
		}
		if known == nil {
			known = f.variables()
		}
		if slices.Contains(known, name) {
			continue
		}
		if near := nearestAfter(prefix, name, known, foreign); near != "" {
			all = append(all, fmt.Sprintf("%v has no effect\nhint: did you mean %s?", g, near))
		}
	}
	return all
}

// variables returns those of all options, also of such as these flags do not have.
func (f *Flags) variables() []string {
	var all []string
	for _, o := range f.Options() {
		all = append(all, o.Variables()...)
	}
	for _, o := range f.others() {
		all = append(all, o.Variables()...)
	}
	return all
}

// nearestAfter returns the known variable with a prefix that is nearest to another with it,
// or "". The prefix is no part of the comparison: it would make all of them near.
func nearestAfter(prefix, name string, known, foreign []string) string {
	var rests []string
	for _, k := range known {
		if rest, ok := strings.CutPrefix(k, prefix); ok && beginning(k, foreign) == "" {
			rests = append(rests, rest)
		}
	}
	near := Nearest(strings.TrimPrefix(name, prefix), rests)
	if near == "" {
		return ""
	}
	return prefix + near
}

// beginning returns the prefix that a name begins with, or "".
func beginning(name string, prefixes []string) string {
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			return prefix
		}
	}
	return ""
}

// ofService are the names that Kubernetes makes for each service of a namespace, with its
// ports (enableServiceLinks in the Pod API).
var ofService = lazy.Regexp(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

func isOfService(name, text string) bool {
	return isServiceLink(name, text) || ofService().MatchString(name)
}
