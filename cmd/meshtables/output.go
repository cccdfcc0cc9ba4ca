package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// answer is what a run prints on stdout. Its exported fields are what -O json
// prints.
type answer interface {
	text(w io.Writer)
}

func (c *command) print(a answer) int {
	if c.output == outputText {
		return c.write(a.text)
	}
	return c.write(func(w io.Writer) {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		// Answers hold nothing that JSON has no form for, and w is a buffer.
		_ = encoder.Encode(a)
	})
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
