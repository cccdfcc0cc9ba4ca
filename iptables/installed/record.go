package installed

import (
	"fmt"
	"hash"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Record is what rules were asked for with, as apply stores it beside them: lines of text,
// none if there is no record. The first line has a digest, so that a changed record is not
// taken for another one. Then comes a line for each argument, such as
// "--excluded-ports=8080", or several if it is long.
//
// If the arguments are too long to be stored, there is a digest of the rules instead: it
// tells whether they are still those that were written.
type Record []string

const (
	// maxLine is the longest comment that nft itself takes (NFTNL_UDATA_COMMENT_MAXLEN in
	// libnftnl/udata.h), without its NUL.
	maxLine = 127
	// maxArguments limits what is stored to a few dozen lines, which take no time.
	maxArguments = 4096
	// continued begins the further lines of an argument. Arguments begin with dashes.
	continued = "+"

	digestOfOptions = "digest of these options: "
	digestOfRules   = "the options are too long; digest of the rules: "
)

// Records are those of policies, by name. None of them is empty.
type Records map[string]Record

// Equal reports whether both are the same.
func (r Records) Equal(other Records) bool { return maps.EqualFunc(r, other, slices.Equal[Record]) }

// NewRecord returns the record of arguments and of the rules, all ours, that follow.
func NewRecord(args []string, rules iptables.Ruleset) Record {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	if size > maxArguments {
		return Record{digestOfRules + DigestOf(rules)}
	}
	r := Record{digestOfOptions + digestOf(args)}
	for _, arg := range args {
		r = append(r, linesOf(arg)...)
	}
	return r
}

// linesOf divides an argument, after a comma if possible.
func linesOf(arg string) []string {
	var lines []string
	for len(arg) > maxLine {
		end := maxLine
		if comma := strings.LastIndexByte(arg[:maxLine], ','); comma > 0 {
			end = comma + 1
		}
		lines = append(lines, arg[:end])
		arg = continued + arg[end:]
	}
	return append(lines, arg)
}

// Arguments returns the recorded arguments. It is not ok if there are none: see
// [Record.Digest].
func (r Record) Arguments() (args []string, ok bool) {
	want, ok := r.first(digestOfOptions)
	if !ok {
		return nil, false
	}
	for _, line := range r[1:] {
		rest, further := strings.CutPrefix(line, continued)
		if last := len(args) - 1; further && last >= 0 {
			args[last] += rest
			continue
		}
		args = append(args, line)
	}
	return args, digestOf(args) == want
}

// Digest returns the recorded digest of rules, if the arguments were too long; see
// [DigestOf]. If there are neither, somebody has changed the record.
func (r Record) Digest() (digest string, ok bool) {
	digest, ok = r.first(digestOfRules)
	return digest, ok && len(r) == 1
}

// first returns what follows a prefix in the first line.
func (r Record) first(prefix string) (rest string, ok bool) {
	if len(r) == 0 {
		return "", false
	}
	return strings.CutPrefix(r[0], prefix)
}

// DigestOf returns a digest of rules. Rules with the same are the same.
func DigestOf(rules iptables.Ruleset) string {
	rules.Tables = slices.Clone(rules.Tables)
	for i := range rules.Tables {
		rules.Tables[i].Chains = slices.Clone(rules.Tables[i].Chains)
	}
	rules.Sort()
	d := newDigest()
	for _, t := range rules.Tables {
		for _, c := range t.Chains {
			d.add(fmt.Sprintf("%s %s %s", t.Family, t.Name, c.Name))
			for line := range c.Lines() {
				d.add(line)
			}
		}
	}
	return d.String()
}

// digest is of lines. It is not for secrets: who can change the record can change the rules.
type digest struct {
	hash hash.Hash64
	line []byte
}

func newDigest() digest { return digest{hash: fnv.New64a()} }

func (d *digest) add(line string) {
	d.line = append(append(d.line[:0], line...), '\n')
	// A hash returns no error.
	_, _ = d.hash.Write(d.line)
}

// String returns the digest of what was added.
func (d *digest) String() string { return fmt.Sprintf("%016x", d.hash.Sum64()) }

func digestOf(lines []string) string {
	d := newDigest()
	for _, line := range lines {
		d.add(line)
	}
	return d.String()
}
