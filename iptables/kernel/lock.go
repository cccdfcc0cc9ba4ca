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

// lockWait bounds waiting for other copies; a change takes milliseconds, and by the
// programs on a busy machine a second.
const lockWait = 10 * time.Second

// lock keeps copies that change a network namespace from
// doing so at the same time: rules change in one transaction, but rules and
// routing together do not, and neither do two programs' views of the rules.
//
// It is a lock on the namespace itself (flock(2) on its file in /proc), so it
// needs no file that copies in different containers would have to share, and the
// kernel releases it when its holder dies. Where /proc or the lock is missing,
// as in some sandboxes, copies are not kept apart. Nor are they where the lock is
// held for longer than any change takes: every process of the namespace can hold
// it, and none must be able to keep the rules as they are.
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
