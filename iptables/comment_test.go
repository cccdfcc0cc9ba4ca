package iptables

import (
	"slices"
	"strings"
	"testing"
)

// savedComments are comments and how iptables-save 1.8.9 prints them, in both
// variants.
var savedComments = map[string]string{
	"":                              `""`,
	"x-_9":                          `x-_9`,
	"-j":                            `-j`,
	"!":                             `"!"`,
	"a b":                           `"a b"`,
	" lead and trail ":              `" lead and trail "`,
	"a\tb":                          "\"a\tb\"",
	`q"b\c'd`:                       `"q\"b\\c\'d"`,
	"--tunnel-port=15008":           `"--tunnel-port=15008"`,
	"built-in (passthrough source)": `"built-in (passthrough source)"`,
	"é\xff\x01\r":                   "\"é\xff\x01\r\"",
	strings.Repeat("y", MaxComment): strings.Repeat("y", MaxComment),
}

func TestCommentIsQuotedAsSaved(t *testing.T) {
	for text, saved := range savedComments {
		words := "-p tcp -m comment --comment " + saved + " -j ACCEPT"
		r := Rule{Protocol: ProtocolMatch{Protocol: TCP}, Matches: []Match{Comment{text}}, Target: Accept}
		if got := r.String(); got != words {
			t.Errorf("%q: printed %s, want %s", text, got, words)
		}
		read := parse(t, "*nat\n:A -\n-A A "+words+"\nCOMMIT\n").Tables[0].Chains[0].Rules[0]
		if !slices.Equal(read.Matches, r.Matches) || read.Target != r.Target {
			t.Errorf("%s: read %#v", words, read)
		}
	}
}

// What iptables-save prints otherwise is kept as it is.
func TestCommentInOtherWords(t *testing.T) {
	for _, words := range []string{
		`-m comment --comment "plain"`, `-m comment --comment "a\b"`, `-m comment --comment a"b c"`,
		`-m comment --comment ` + strings.Repeat("z", MaxComment+1), `-m comment ! --comment a`,
	} {
		read := parse(t, "*nat\n:A -\n-A A "+words+"\nCOMMIT\n").Tables[0].Chains[0].Rules[0]
		if _, ok := read.Matches[0].(UnknownMatch); !ok || read.String() != words {
			t.Errorf("%s: read %#v", words, read)
		}
	}
}

func FuzzComment(f *testing.F) {
	for text := range savedComments {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := Comment{text}
		if c.Validate() != nil {
			return
		}
		r := Rule{Matches: []Match{c}, Target: Accept}
		read := parse(t, "*nat\n:A -\n-A A "+r.String()+"\nCOMMIT\n").Tables[0].Chains[0].Rules[0]
		if !slices.Equal(read.Matches, r.Matches) || read.Target != r.Target {
			t.Errorf("%q: printed %s, read %#v", text, r, read)
		}
	})
}

// commented is a table of ours with a comment to every rule, beside foreign rules
// with comments.
const commented = `*nat
:OUTPUT ACCEPT [0:0]
:ISTIO_A - [0:0]
:OTHER - [0:0]
-A OUTPUT -m comment --comment "--foreign=1" -j ACCEPT
-A OUTPUT -m comment --comment "built-in (outbound)" -j ISTIO_A
-A ISTIO_A -p tcp -m comment --comment "--excluded-ports=1" -j RETURN
-A ISTIO_A -m comment --comment "by hand" -j RETURN
-A OTHER -m comment --comment "--foreign=2" -j RETURN
COMMIT
`

func TestReadComments(t *testing.T) {
	rs := parse(t, commented)
	read := owned.ReadComments(rs)
	want := strings.NewReplacer(`-m comment --comment "built-in (outbound)" `, "", `-m comment --comment "--excluded-ports=1" `, "").Replace(commented)
	if got := read.Save(IPv4); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if rs.Save(IPv4) != commented {
		t.Error("the argument has changed")
	}
	nat := read.Tables[0]
	if got := nat.Chain(Output).Rules[1].Origin; got != (Origin{BuiltIn, "outbound"}) {
		t.Errorf("the jump has origin %q", got)
	}
	ours := nat.Chain("ISTIO_A").Rules
	if ours[0].Origin != (Origin{"--excluded-ports", "1"}) || ours[1].Origin != (Origin{}) {
		t.Errorf("our rules have origins %q and %q", ours[0].Origin, ours[1].Origin)
	}
	if got := nat.Chain("OTHER").Rules[0].Origin; got != (Origin{}) {
		t.Errorf("a foreign rule has origin %q", got)
	}
}

// An origin that is known already knows more than its comment.
func TestReadCommentsKeepsOrigins(t *testing.T) {
	rs := parse(t, commented)
	whole := Origin{"--excluded-ports", strings.Repeat("1,", 200) + "1"}
	rs.Tables[0].Chain("ISTIO_A").Rules[0].Origin = whole
	rs = rs.Commented()
	rs = owned.ReadComments(rs)
	if r := rs.Tables[0].Chain("ISTIO_A").Rules[0]; r.Origin != whole || r.String() != "-p tcp -j RETURN" {
		t.Errorf("got %s from %s", r, r.Origin)
	}
}

func TestCommented(t *testing.T) {
	rs := parse(t, commented)
	if plain := rs.Uncommented(); !rs.HasComments() || plain.HasComments() || strings.Contains(plain.Save(IPv4), "comment") {
		t.Errorf("without comments:\n%s", plain.Save(IPv4))
	}
	r := rs.Tables[0].Chain("ISTIO_A").Rules[0]
	r.Origin = Origin{"--included-ports", "*"}
	want := `-p tcp -m comment --comment "--included-ports=*" -j RETURN`
	if got := r.Commented(); got.String() != want || !got.Commented().Equal(got) {
		t.Errorf("got %s, want %s", got, want)
	}
}
