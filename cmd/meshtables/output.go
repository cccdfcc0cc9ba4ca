package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// schemaVersion is the version in docs/json.md, which says when it changes.
const schemaVersion = 1

// answer is what a run prints on stdout. Its exported fields are what -O json
// prints, after the version; docs/json.md describes them.
type answer interface {
	text(w io.Writer)
}

func (c *command) print(a answer) int {
	if c.output == outputText {
		return c.write(a.text)
	}
	return c.write(func(w io.Writer) { writeJSON(w, a) })
}

// textOf returns the text of an answer.
func textOf(a answer) string {
	var b strings.Builder
	a.text(&b)
	return b.String()
}

// writeJSON prints an answer as an object whose first field is the version.
func writeJSON(w io.Writer, a answer) {
	var object bytes.Buffer
	encoder := json.NewEncoder(&object)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	// Answers have only types that JSON can encode.
	_ = encoder.Encode(a)
	// Every answer has a field of its own, so a comma is right.
	fmt.Fprintf(w, "{\n  \"schemaVersion\": %d,%s", schemaVersion, strings.TrimPrefix(object.String(), "{"))
}

// write prints an answer as a whole.
func (c *command) write(answer func(io.Writer)) int {
	var b bytes.Buffer
	answer(&b)
	if _, err := c.stdout.Write(b.Bytes()); err != nil {
		return c.failed(fmt.Errorf("failed to print the answer: %w", err))
	}
	return exitDone
}
