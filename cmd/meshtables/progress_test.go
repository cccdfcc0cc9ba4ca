package main

import (
	"strings"
	"testing"
	"time"
)

// The bar comes after a second, is not drawn for each pod, and goes.
func TestProgress(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	now := time.Unix(0, 0)
	p := &progress{w: &b, now: func() time.Time { return now }, start: now}
	for i := 1; i <= 40; i++ {
		now = now.Add(50 * time.Millisecond)
		p.tell(i, 40)
	}
	p.end()
	want := "\r[###############               ] 20 of 40 pods"
	if got := b.String(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\r\x1b[K") || strings.Count(got, "\r[") != 11 {
		t.Errorf("got %q", got)
	}
	b.Reset()
	quick := &progress{w: &b, now: func() time.Time { return now }, start: now}
	quick.tell(1, 1)
	quick.end()
	if other := newProgress(&b); other.w != nil || b.Len() > 0 {
		t.Errorf("it draws %q where it should not", b.String())
	}
}
