package tests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manualPage has examples without what they print, which is recorded in
// manualOutputs.
const (
	manualPage    = "../docs/meshtables.8"
	manualOutputs = "testdata/manual.md"
)

// The commands of the manual page's examples, one after the other, print what is
// recorded. With -update it is recorded anew.
func TestManualExamples(t *testing.T) {
	t.Parallel()
	blocks, err := parseBlocks(readDocument(t, manualOutputs))
	if err != nil {
		t.Fatal(err)
	}
	var session []step
	for _, b := range blocks {
		steps, err := b.steps()
		if err != nil {
			t.Fatal(err)
		}
		session = append(session, steps...)
	}
	var recorded []string
	for _, s := range session {
		recorded = append(recorded, s.command)
	}
	if diff := cmp.Diff(manualExamples(readDocument(t, manualPage)), recorded); diff != "" {
		t.Fatalf("examples of %s (-), commands of %s (+):\n%s", manualPage, manualOutputs, diff)
	}
	checkSession(t, t.TempDir(), manualOutputs, session)
}

// manualExamples returns the lines of what mdoc(7) prints literally among the
// examples.
func manualExamples(page string) []string {
	var commands []string
	examples, literal := false, false
	for line := range strings.SplitSeq(page, "\n") {
		switch {
		case strings.HasPrefix(line, ".Sh "):
			examples = line == ".Sh EXAMPLES"
		case strings.HasPrefix(line, ".Bd -literal"):
			literal = true
		case line == ".Ed":
			literal = false
		case examples && literal:
			commands = append(commands, strings.ReplaceAll(line, `\-`, "-"))
		}
	}
	return commands
}
