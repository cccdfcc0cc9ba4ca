package installed

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

// What is recorded is read back, however long an argument is, and is short enough for nft.
func TestRecord(t *testing.T) {
	t.Parallel()
	long := "--excluded-ports=" + strings.Repeat("15020,", 500) + "1"
	for _, args := range [][]string{
		nil,
		{"--proxy-uid=1337"},
		{"--proxy-uid=1337", long, "--ipv6=off"},
		{"--excluded-interfaces=" + strings.Repeat("x", maxLine), "--included-ports="},
		{"--excluded-interfaces=+a,--b," + strings.Repeat("c", 300)},
	} {
		r := NewRecord(args, iptables.Ruleset{})
		if got, ok := r.Arguments(); !ok || !slices.Equal(got, args) {
			t.Errorf("got %q, %t, want %q", got, ok, args)
		}
		if digest, ok := r.Digest(); ok {
			t.Errorf("%q: got the digest %s", args, digest)
		}
		for _, line := range r {
			if len(line) > maxLine {
				t.Errorf("%q is too long", line)
			}
		}
	}
}

// Of long options there is a digest of their rules.
func TestRecordOfLongOptions(t *testing.T) {
	t.Parallel()
	args := []string{"--excluded-ports=" + strings.Repeat("15020,", 1000) + "1"}
	rules := tableWith("ISTIO_X")
	r := NewRecord(args, rules)
	if got, ok := r.Arguments(); ok {
		t.Errorf("got arguments %q", got)
	}
	if got, ok := r.Digest(); !ok || got != DigestOf(rules) || got == DigestOf(tableWith("ISTIO_Y")) || len(r) > 1 {
		t.Errorf("got %s, %t of %q", got, ok, r)
	}
}

// A record that somebody has changed has neither arguments nor digest.
func TestChangedRecord(t *testing.T) {
	t.Parallel()
	short := NewRecord([]string{"--proxy-uid=1337", "--excluded-ports=80"}, iptables.Ruleset{})
	for name, r := range map[string]Record{
		"none":              nil,
		"empty":             {""},
		"a line less":       short[:2],
		"no digest":         short[1:],
		"the digest alone":  short[:1],
		"another value":     {short[0], short[1], "--excluded-ports=81"},
		"another order":     {short[0], short[2], short[1]},
		"a line more":       append(slices.Clone(short), "+1"),
		"rules and options": {digestOfRules + DigestOf(iptables.Ruleset{}), short[1]},
		"no argument":       {short[0], "+1"},
	} {
		args, ok := r.Arguments()
		digest, long := r.Digest()
		if ok || long {
			t.Errorf("%s: got %q, %q", name, args, digest)
		}
	}
}
