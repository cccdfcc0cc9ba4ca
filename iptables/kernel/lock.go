package kernel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// lockWait limits waiting for other copies. A change takes milliseconds, or seconds by the
// programs on a busy machine, and several copies may wait.
const lockWait = time.Minute

// maxPause limits the pause between attempts. More frequent ones would slow the holder.
const maxPause = 30 * time.Millisecond

// lockGroup is the NFLOG group that serves as the lock. Nothing logs to it: the number is
// large because programs that log use small ones.
const lockGroup = 28020

// From linux/netfilter/nfnetlink_log.h.
const (
	messagePacket = unix.NFNL_SUBSYS_ULOG << 8 // NFULNL_MSG_PACKET
	messageConfig = messagePacket + 1          // NFULNL_MSG_CONFIG
	configCommand = 1                          // NFULA_CFG_CMD
	commandBind   = 1                          // NFULNL_CFG_CMD_BIND
)

// lock lets only one copy at a time change a network namespace. Rules change in one
// transaction, but rules and routing together do not, nor do the rules of several
// backends.
//
// The lock is an NFLOG group. The kernel gives a group to one socket of a network
// namespace at a time, and only to a process with CAP_NET_ADMIN there
// (nfulnl_recv_config in net/netfilter/nfnetlink_log.c, nfnetlink_rcv in nfnetlink.c). So
// only those who can change the rules anyway can hold it. Copies in different containers
// need not share a file, the rules and their generation stay as they are, and the kernel
// releases the lock when its holder dies.
//
// Copies may overlap if the kernel has no NFLOG, or if another holds the lock for longer
// than wait.
func lock(ctx context.Context, ns *namespace.Namespace, wait time.Duration) (unlock func(), err error) {
	c, err := ns.DialNetfilter()
	if err != nil {
		return func() {}, nil
	}
	unlock = func() { _ = c.Close() }
	deadline := time.Now().Add(wait)
	pause := time.Millisecond
	for ctx.Err() == nil && held(ctx, c) && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
	if ctx.Err() != nil {
		unlock()
		return nil, fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	}
	return unlock, nil
}

// held takes the lock for a connection until that is closed. It returns true if another
// connection has the lock.
func held(ctx context.Context, c *netlink.Conn) bool {
	err := c.Tell(ctx, netlink.Request{
		Kind: messageConfig, Resource: lockGroup, Purpose: netlink.Purpose("take the lock"),
		Attributes: func(b *netlink.Builder) { b.PutBytes(configCommand, []byte{commandBind}) },
	})
	if !errors.Is(err, unix.EPERM) {
		return false
	}
	// Without the capability every message gets this answer.
	err = c.Tell(ctx, netlink.Request{Kind: messagePacket, Purpose: netlink.Purpose("ask for the capability")})
	return !errors.Is(err, unix.EPERM)
}
