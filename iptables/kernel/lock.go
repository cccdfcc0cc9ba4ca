package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// lockWait limits waiting for other copies. A change takes milliseconds, or a second by
// the programs on a busy machine.
const lockWait = 10 * time.Second

// lock lets only one copy at a time change a network namespace. Rules change in one
// transaction, but rules and routing together do not, nor do the rules of several
// backends.
//
// It locks the namespace itself (flock(2) on its file in /proc). So copies in different
// containers need not share a file, and the kernel releases the lock when its holder
// dies. Without /proc or the lock, as in some sandboxes, copies may overlap. They may
// also overlap if the lock is held longer than any change takes: every process of the
// namespace can hold it, and none may block changes for good.
func lock(ctx context.Context, ns *namespace.Namespace) (unlock func(), err error) {
	file, err := ns.File()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to lock the network namespace: %w", err)
	}
	unlock = func() { _ = unix.Flock(int(file.Fd()), unix.LOCK_UN) }
	deadline := time.Now().Add(lockWait)
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			return unlock, nil
		}
		select {
		case <-ctx.Done():
			unlock()
			return nil, fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
		case <-time.After(time.Millisecond + rand.N(4*time.Millisecond)):
		}
	}
}
