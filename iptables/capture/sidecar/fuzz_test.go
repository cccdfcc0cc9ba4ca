package sidecar

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables/config"
)

// FuzzFlags reads lines as arguments. What they come to is printed and read
// again, without regard for the names of users, and is the same.
func FuzzFlags(f *testing.F) {
	for _, test := range optionTests() {
		f.Add("--" + test.name + "=" + test.value)
		f.Add("--" + test.reference + "\n" + test.value)
		f.Add("-" + test.letter + test.value)
	}
	for _, test := range errorTests() {
		f.Add(strings.Join(test.args, "\n"))
	}
	for _, tests := range []map[string]warningTest{warningTests(), extentTests()} {
		for _, test := range tests {
			f.Add(strings.Join(test.args, "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		fs, flags := newFlags()
		if fs.Parse(strings.Split(text, "\n")) != nil {
			return
		}
		c, warnings, err := flags.Config(config.Sources{Users: testUsers()})
		for _, line := range append(warnings, errorLines(err)...) {
			text, _, _ := strings.Cut(line, "\nhint: ")
			if text == "" || strings.Contains(text, "\n") {
				t.Errorf("message %q is not one line with a hint", line)
			}
		}
		if err != nil {
			return
		}
		again, _, err := read(t, c.Args(), config.Sources{Users: usersMap{}})
		if err != nil {
			t.Fatalf("%q are refused: %v", c.Args(), err)
		}
		if diff := diffConfig(again, c); diff != "" {
			t.Errorf("%q mean something else (-first +second):\n%s", c.Args(), diff)
		}
		if diff := cmp.Diff(c.Args(), again.Args()); diff != "" {
			t.Errorf("arguments change (-first +second):\n%s", diff)
		}
		wantParsed(t, c)
	})
}

func errorLines(err error) []string {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var lines []string
	for _, err := range joined.Unwrap() {
		lines = append(lines, err.Error())
	}
	return lines
}
