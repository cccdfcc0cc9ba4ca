package tests

import (
	"strings"
	"testing"
)

const manualPage = "../docs/meshtables.8"

// The commands of the manual page's examples succeed, one after the other.
func TestManualExamples(t *testing.T) {
	t.Parallel()
	session := manualExamples(readDocument(t, manualPage))
	if len(session) == 0 {
		t.Fatal("there are no examples")
	}
	checkSession(t, t.TempDir(), manualPage, session)
}

// manualExamples returns the lines of what mdoc(7) prints literally among the
// examples.
func manualExamples(page string) []step {
	var session []step
	examples, literal := false, false
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, ".Sh "):
			examples = line == ".Sh EXAMPLES"
		case strings.HasPrefix(line, ".Bd -literal"):
			literal = true
		case line == ".Ed":
			literal = false
		case examples && literal:
			command := strings.ReplaceAll(line, `\-`, "-")
			session = append(session, step{i + 2, command, []string{placeholder}})
		}
	}
	return session
}
