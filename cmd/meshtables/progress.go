package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress draws a bar on a terminal, once a job takes longer than a second.
type progress struct {
	w     io.Writer // nil if it is no terminal
	now   func() time.Time
	start time.Time
	drawn time.Time
}

// newProgress returns a bar on a terminal. On anything else it draws nothing.
func newProgress(w io.Writer) *progress {
	p := &progress{now: time.Now, start: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// The bar comes after this time, and is drawn anew that often.
const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

// tell draws the bar.
func (p *progress) tell(done, total int) {
	now := p.now()
	if p.w == nil || now.Sub(p.start) < progressAfter || now.Sub(p.drawn) < progressEvery {
		return
	}
	p.drawn = now
	const width = 30
	filled := width * done / max(total, 1)
	fmt.Fprintf(p.w, "\r[%s%s] %d of %d pods", strings.Repeat("#", filled), strings.Repeat(" ", width-filled), done, total)
}

// end takes the bar away (ECMA-48, "erase in line").
func (p *progress) end() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
