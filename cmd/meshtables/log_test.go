package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// People read a hint once, with the first message that has it. Each object stands alone.
func TestHintsOnce(t *testing.T) {
	t.Parallel()
	log := func(format logFormat) string {
		var b bytes.Buffer
		l := newLogger(&b, format, slog.LevelInfo)
		l.Warn("a\nhint: x")
		l.Warn("b\nhint: x")
		l.Error("c\nhint: y\nhint: x")
		l.Error("d\nhint: y")
		return b.String()
	}
	const want = `meshtables: warning: a
meshtables: hint: x
meshtables: warning: b
meshtables: error: c
meshtables: hint: y
meshtables: error: d
`
	if diff := cmp.Diff(want, log(logText)); diff != "" {
		t.Error(diff)
	}
	if got := strings.Count(log(logJSON), `"hint":`); got != 4 {
		t.Errorf("%d of 4 objects have their hint", got)
	}
}
