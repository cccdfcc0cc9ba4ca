package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// untilSignal returns a context that ends with the signals by which users and container
// runtimes end a program.
//
// It listens for them only once somebody waits for its end. Until then they end the process as
// they do by default. A run over netlink is over in milliseconds without waiting, and listening
// would be a twentieth of what it costs: a goroutine, and a thread for it.
func untilSignal() context.Context { return &signalContext{} }

type signalContext struct {
	once      sync.Once
	listening atomic.Pointer[context.Context]
}

// Done listens from now on.
func (c *signalContext) Done() <-chan struct{} {
	c.once.Do(func() {
		// They are listened for until the process ends.
		ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		c.listening.Store(&ctx)
	})
	return c.now().Done()
}

// now returns the context that stands for this one at the moment.
func (c *signalContext) now() context.Context {
	if ctx := c.listening.Load(); ctx != nil {
		return *ctx
	}
	return context.Background()
}

func (c *signalContext) Err() error                  { return c.now().Err() }
func (c *signalContext) Value(key any) any           { return c.now().Value(key) }
func (c *signalContext) Deadline() (time.Time, bool) { return time.Time{}, false }
