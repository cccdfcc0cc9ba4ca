package xtables

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// inGVisor says what helps where the kernel is gVisor's: it has no modules to load.
func (e *Error) inGVisor() {
	e.sandboxed = true
	switch {
	case errors.Is(e.Kind, fs.ErrPermission):
		e.Hint += "; gVisor keeps NET_RAW from containers unless its runsc.toml has net-raw = \"true\""
	case e.Kind != ErrMissing:
	case strings.Contains(e.words(), "'raw'"):
		e.Hint = "gVisor had no table raw before google/gvisor#12688, and without it DNS cannot be captured: leave that out, or use a newer gVisor"
	default:
		e.Hint = "gVisor has netfilter in part: leave out what needs this"
	}
}

// tablesOfGVisor returns the names of the tables that are there in gVisor, which has no file that
// lists them. Other than in Linux, looking for one creates nothing.
func tablesOfGVisor() []string {
	return []string{iptables.Raw, iptables.Mangle, iptables.Nat, "filter"}
}

// saveEach returns what the programs print about tables, one after the other: without a name they
// print those that the kernel lists. Those that do not exist are left out.
func (b *Backend) saveEach(ctx context.Context, family iptables.Family, tables []string) (string, error) {
	var all strings.Builder
	for _, table := range tables {
		text, err := b.execer.run(ctx, command{path: b.programs[family].save, args: []string{"-c", "-t", table}})
		if errors.Is(err, ErrMissing) {
			continue
		}
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}

// unsupported is what the programs print instead of a match that is of another revision than they
// know (print_match in iptables/iptables.c). gVisor gives all matches the revision 0
// (marshalEntryMatch in pkg/sentry/socket/netfilter), whatever was written.
const unsupported = "[unsupported revision]"

// unshown says what follows.
const unshown = "the kernel does not say what some matches are about, as in gVisor, so nobody can compare the rules; meshtables probe tries them"

// hasUnshown reports whether rules have matches that the programs cannot show.
func hasUnshown(rules *iptables.Ruleset) bool {
	for i := range rules.Tables {
		for _, c := range rules.Tables[i].Chains {
			for j := range c.Rules {
				if strings.Contains(c.Rules[j].String(), unsupported) {
					return true
				}
			}
		}
	}
	return false
}
