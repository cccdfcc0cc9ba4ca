package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run that waits for its context ends by a signal, and contexts made from it too, with the
// signal as the cause.
func TestUntilSignal(t *testing.T) {
	ctx := untilSignal()
	if err := ctx.Err(); err != nil {
		t.Fatalf("before: %v", err)
	}
	derived, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]context.Context{"itself": ctx, "derived": derived} {
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing ends it", name)
		}
		if cause := context.Cause(c); c.Err() != context.Canceled || !strings.Contains(cause.Error(), "terminated") {
			t.Errorf("%s: %v, %v", name, c.Err(), cause)
		}
	}
}
