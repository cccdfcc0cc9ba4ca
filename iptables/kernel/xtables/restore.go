package xtables

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// restore runs one restore program over the edits of one family.
func (b *Backend) restore(ctx context.Context, w write, args ...string) error {
	p := b.programs[w.family]
	var input strings.Builder
	for _, e := range w.tables {
		for _, line := range e.lines {
			input.WriteString(line)
			input.WriteByte('\n')
		}
	}
	_, err := b.execer.run(ctx, command{
		path:  p.restore,
		args:  slices.Concat([]string{"--noflush"}, args, b.waitArgs(p.version)),
		input: input.String(),
	})
	if failed := (*Error)(nil); errors.As(err, &failed) {
		failed.locate(w.tables)
	}
	return err
}
