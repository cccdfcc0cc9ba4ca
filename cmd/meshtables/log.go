package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/meshtables/meshtables/iptables/kernel"
)

// newLogger returns the logger for stderr. Text is for people: a line is the program's
// name, the level if it is a warning or an error, and the message.
func newLogger(w io.Writer, format logFormat, level slog.Level) *slog.Logger {
	if format == logJSON {
		return slog.New(hintHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
	}
	return slog.New(&lineHandler{w: w, level: level, mu: new(sync.Mutex), hinted: make(map[string]bool)})
}

// lineHandler writes records as lines that start with "meshtables: ". It leaves out a hint
// that it has written before: many messages with one hint read better with one.
type lineHandler struct {
	w     io.Writer
	level slog.Level
	attrs string
	mu    *sync.Mutex
	// hinted are the hints that are written. Copies of the handler share it and mu.
	hinted map[string]bool
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += formatAttr(a)
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for line := range strings.SplitSeq(text+h.attrs, "\n") {
		isHint := strings.HasPrefix(line, hintPrefix)
		if isHint && h.hinted[line] {
			continue
		}
		b.WriteString("meshtables: ")
		switch {
		case isHint:
			// A hint belongs to the line before, whatever its level.
			h.hinted[line] = true
		case r.Level >= slog.LevelError:
			b.WriteString("error: ")
		case r.Level >= slog.LevelWarn:
			b.WriteString("warning: ")
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(h.w, b.String())
	return err
}

// warn logs the warnings about an answer.
func (c *command) warn(warnings []string) {
	for _, w := range warnings {
		c.log.Warn(w)
	}
}

// debug logs the backends that were considered.
func (c *command) debug(candidates []kernel.Candidate) {
	for _, candidate := range candidates {
		c.log.Debug(candidate.String())
	}
}

// hintPrefix starts a line of a message that says what to do next.
const hintPrefix = "hint: "

// hintHandler logs the hint of a message as an attribute.
type hintHandler struct{ slog.Handler }

func (h hintHandler) Handle(ctx context.Context, r slog.Record) error {
	message, hint, ok := strings.Cut(r.Message, "\n"+hintPrefix)
	r.Message = message
	if ok {
		r.AddAttrs(slog.String("hint", strings.ReplaceAll(hint, "\n"+hintPrefix, "\n")))
	}
	return h.Handler.Handle(ctx, r)
}

func (h hintHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return hintHandler{h.Handler.WithAttrs(attrs)}
}

func (h hintHandler) WithGroup(name string) slog.Handler {
	return hintHandler{h.Handler.WithGroup(name)}
}

func formatAttr(a slog.Attr) string { return " " + a.Key + "=" + a.Value.String() }

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	for _, a := range attrs {
		derived.attrs += formatAttr(a)
	}
	return &derived
}

// WithGroup ignores groups: a line has no room for structure.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }
