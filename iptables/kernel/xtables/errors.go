package xtables

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/lazy"
	"github.com/meshtables/meshtables/iptables/internal/userns"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// The kinds of failures, for [errors.Is]. A lack of privilege is [fs.ErrPermission].
var (
	// ErrLocked means that another program held the lock for too long.
	ErrLocked = errors.New("locked by another program")
	// ErrMissing means that the kernel or the programs lack something.
	ErrMissing = errors.New("not available")
	// ErrIncompatible means that a table has rules that the programs cannot show.
	ErrIncompatible = errors.New("incompatible table")
)

const hintPermission = "run as root with the capabilities NET_ADMIN and NET_RAW"

// Error is the failure of a program.
type Error struct {
	Program string // its file name
	Status  int    // exit status, -1 if there is none
	Stderr  string // all of it
	// Kind is [ErrLocked], [ErrMissing], [fs.ErrPermission] or nil.
	Kind error
	// Hint is what helps, or empty.
	Hint string
	// Line is the refused line of the input, counted from 1, or 0 if it is unknown.
	Line int
	// Input is the part of the input around Line, with numbers.
	Input string

	// fromOutside says that the namespace belongs to another user namespace than the
	// program's.
	fromOutside bool
	// sandboxed says that the kernel is gVisor's.
	sandboxed bool

	meaning string // what went wrong, in our words; else the program's are shown
	err     error  // from running it
}

// Unwrap returns the kind and the error from running the program.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.err}
	}
	return []error{e.Kind, e.err}
}

// Error returns the message: what failed, the input if that helps, the hint.
func (e *Error) Error() string { return e.message() + withHint(e.Hint) }

func (e *Error) message() string {
	s := e.Program + ": "
	words := e.words()
	switch {
	case e.meaning != "" && words != "":
		s += e.meaning + " (" + words + ")"
	case e.meaning != "" || words != "":
		s += e.meaning + words
	default:
		s += e.err.Error()
	}
	if e.Input != "" {
		s += "\n" + e.Input
	}
	return s
}

func withHint(hint string) string {
	if hint == "" {
		return ""
	}
	return "\nhint: " + hint
}

var (
	// "iptables-nft-restore v1.8.9 (nf_tables): ", or without the version.
	speaker = lazy.Regexp(`^ip6?tables[-a-z]*( v[0-9.]+ \(\w+\))?: *`)
	// Printed with every refused line, and useless to people who wrote none.
	chatter = lazy.Regexp("^(Try `|Error occurred at line)")
	atLine  = lazy.Regexp(`\bline:? (\d+)`)
)

// maxWords limits how much of stderr is shown, in bytes.
const maxWords = 500

// words returns what the program said as one line.
func (e *Error) words() string {
	var said []string
	for line := range strings.Lines(e.Stderr) {
		line = strings.TrimSpace(line)
		for prev := ""; prev != line; {
			prev, line = line, speaker().ReplaceAllString(line, "")
		}
		if line != "" && !chatter().MatchString(line) {
			said = append(said, strings.TrimSuffix(line, "."))
		}
	}
	words := strings.Join(said, "; ")
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + " ..."
	}
	return words
}

// newError is the only place that interprets the words and the status of a program.
func newError(c command, status int, stderr string, err error) *Error {
	e := &Error{Program: filepath.Base(c.path), Status: status, Stderr: stderr, err: err}
	if m := atLine().FindStringSubmatch(stderr); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	for _, f := range failures {
		words := regexp.MustCompile(f.words)
		if at := words.FindStringSubmatchIndex(stderr); at != nil {
			e.Kind = f.kind
			e.meaning = string(words.ExpandString(nil, f.meaning, stderr, at))
			e.Hint = string(words.ExpandString(nil, f.hint, stderr, at))
			break
		}
	}
	if missing := missingCapabilities(); e.Kind == ErrMissing && missing != "" {
		// The legacy programs say the same about a table that does not exist and one that
		// they may not see.
		e.Kind, e.Hint = fs.ErrPermission, hintPermission
		e.meaning = "the capability " + missing + " is missing"
	}
	return e
}

// failures are what the programs of iptables 1.6 to 1.8 print, the most specific words
// first. "${1}" is what the first group of the words names.
var failures = []struct {
	words         string // a regular expression
	kind          error
	meaning, hint string
}{
	{`you must be root|Operation not permitted`,
		fs.ErrPermission, "not permitted", hintPermission},
	{`(?i)can't open lock file (\S+?):`,
		nil, "the lock file cannot be opened", "make the directory of ${1} writable, or name another file in the environment variable XTABLES_LOCKFILE"},
	{`holding the xtables lock`,
		ErrLocked, "another program is changing rules", "try again when it is done"},
	{"Couldn't load (match|target) `([^']*)'",
		ErrMissing, "there is no ${1} ${2}", "the installed iptables lacks the extension; install its complete package"},
	{"Chain '([^']*)' does not exist",
		ErrMissing, "there is no chain or target ${1}", ""},
	{"(?:unable to|can't|[Cc]annot) initialize (?:ip6?tables )?table [`'](\\w+)'",
		ErrMissing, "the kernel has no table ${1}", "load its module (such as iptable_${1} or ip6table_${1}), or use --backend=iptables-nft or --backend=nftables"},
	{`Cannot initialize: `,
		ErrMissing, "the kernel has no such table", "load its module (such as iptable_NAME or ip6table_NAME)"},
	{`Could not fetch rule set generation id|Failed to initialize nft`,
		ErrMissing, "the kernel has no nf_tables", "load the module nf_tables, or use --backend=iptables-legacy"},
	{`Extension (tcp|udp) revision \d+ not supported, missing kernel module`,
		ErrMissing, "the kernel has no extension ${1}", "load the modules nft_compat and xt_tcpudp, or use --backend=nftables, which needs neither"},
	{`Extension (\w+) revision \d+ not supported, missing kernel module`,
		ErrMissing, "the kernel has no extension ${1}", "load the modules nft_compat and xt_${1}, or use --backend=nftables, which needs neither"},
	{`No chain/target/match by that name|RULE_\w+ failed \(No such file or directory\)`,
		ErrMissing, "the kernel lacks an extension that this rule uses", "load the kernel modules of the extensions it names (xt_NAME), or use --backend=nftables, which needs none"},
	{`(?:RULE|CHAIN|TABLE)_\w+ failed \((?:Operation|Protocol) not supported\)`,
		ErrMissing, "the kernel lacks a part of nf_tables that this needs", "load the modules nft_compat and nft_chain_nat, or use --backend=nftables, which needs no nft_compat, or --backend=iptables-legacy"},
}

// missingCapabilities returns the capabilities that the programs need and that
// this thread lacks. The legacy programs talk to the kernel by a raw socket.
func missingCapabilities() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return ""
	}
	var missing []string
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		missing = append(missing, "NET_ADMIN")
	}
	if data[0].Effective&(1<<unix.CAP_NET_RAW) == 0 {
		missing = append(missing, "NET_RAW")
	}
	return strings.Join(missing, " and ")
}

// How much of the input is shown: lines before and after the refused one, and bytes of
// each line.
const (
	contextLines = 5
	maxLine      = 200
)

// locate adds the refused part of the input. The kernel refuses a whole table at its
// COMMIT. The programs count the lines of all tables.
func (e *Error) locate(tables []edit) {
	first := 1
	for _, t := range tables {
		last := first + len(t.lines) - 1
		if first <= e.Line && e.Line <= last {
			from, to := max(first, e.Line-contextLines), min(last, e.Line+contextLines)
			e.Input = excerpt(t, first, from, to)
			e.refused(t.lines[e.Line-first])
			return
		}
		first = last + 1
	}
	e.Line = 0
}

func excerpt(t edit, first, from, to int) string {
	var b strings.Builder
	if from > first {
		fmt.Fprintf(&b, "%6d  %s\n   ...\n", first, t.lines[0])
	}
	for n := from; n <= to; n++ {
		line := t.lines[n-first]
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "") + " ..."
		}
		fmt.Fprintf(&b, "%6d  %s\n", n, line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// refused finds a hint in the refused line if the words gave none.
func (e *Error) refused(line string) {
	switch {
	case e.Hint != "":
	case strings.Contains(line, " owner ") && strings.Contains(e.Stderr, "Invalid argument"):
		// net/netfilter/xt_owner.c, owner_check.
		e.Hint = "in a user namespace, owner matches only ids in its uid_map and gid_map; " +
			"if it does not own the network namespace, use --backend=nftables"
	case line == "COMMIT" && e.sandboxed:
		e.Hint = "gVisor took at most 8 KiB of rules a table before google/gvisor#12686: use a newer one, or list fewer ports and networks"
	case line == "COMMIT" && e.fromOutside:
		// The older form says only that the table was refused.
		e.Hint = "the kernel refuses the match owner from a user namespace that does not own the network namespace: use --backend=nftables"
	case line == "COMMIT":
		e.Hint = "the kernel refused the table without a reason; see the kernel log (dmesg)"
	}
}

// inOwner reports whether this process is in the user namespace that owns a network
// namespace. It is true if that is unknown.
func inOwner(ns *namespace.Namespace) bool {
	owner, err := userns.OwnerOf(ns.File())
	return err != nil || owner == nil || userns.IsOf(userns.Thread, owner)
}

// ReplaceError is the failure of [Backend.Replace].
type ReplaceError struct {
	// Err is the cause.
	Err error
	// PutBack is why the old rules could not be put back. It is nil if they are in place.
	PutBack error
}

// Unwrap returns both errors.
func (e *ReplaceError) Unwrap() []error {
	if e.PutBack == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.PutBack}
}

// Error returns the message, with the cause's hint at its end.
func (e *ReplaceError) Error() string {
	cause, hint, _ := strings.Cut(e.Err.Error(), "\nhint: ")
	s := "failed to write rules: " + cause
	if e.PutBack == nil {
		s += "\nthe old rules are still in place"
	} else {
		s += "\nthe old rules could not be put back: " + strings.ReplaceAll(e.PutBack.Error(), "\nhint: ", "; ")
	}
	return s + withHint(hint)
}
