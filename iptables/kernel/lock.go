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

// lockWait bounds waiting for other copies. A change takes milliseconds, and by the
// programs on a busy machine seconds; and there may be some before us.
const lockWait = time.Minute

// maxPause is how often those who wait ask again: more often they would keep the holder from
// its work.
const maxPause = 30 * time.Millisecond

// lockGroup is the group of NFLOG that is the lock. Nobody logs to it: a small number
// would be somebody's.
const lockGroup = 28020

// Of linux/netfilter/nfnetlink_log.h.
const (
	messagePacket = unix.NFNL_SUBSYS_ULOG << 8 // NFULNL_MSG_PACKET
	messageConfig = messagePacket + 1          // NFULNL_MSG_CONFIG
	configCommand = 1                          // NFULA_CFG_CMD
	commandBind   = 1                          // NFULNL_CFG_CMD_BIND
)

// lock keeps copies that change a network namespace from
// doing so at the same time: rules change in one transaction, but rules and
// routing together do not, and neither do two programs' views of the rules.
//
// It is the right to receive what is logged to a group of NFLOG, which the kernel gives to
// one socket of a network namespace at a time, and to whoever has CAP_NET_ADMIN there
// (nfulnl_recv_config in net/netfilter/nfnetlink_log.c, nfnetlink_rcv in nfnetlink.c). So
// none can hold it but who can change the rules anyway. It needs no file that copies in
// different containers would have to share, leaves the rules and their generation alone,
// and goes with the socket when its holder dies.
//
// Where the kernel has no NFLOG, copies are not kept apart. Nor are they where the lock is
// held for longer than wait.
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

// held takes the lock for a connection, which has it until it is closed, or reports
// whether another has it.
func held(ctx context.Context, c *netlink.Conn) bool {
	err := c.Tell(ctx, netlink.Request{
		Kind: messageConfig, Resource: lockGroup, Purpose: netlink.Purpose("take the lock"),
		Attributes: func(b *netlink.Builder) { b.PutBytes(configCommand, []byte{commandBind}) },
	})
	if !errors.Is(err, unix.EPERM) {
		return false
	}
	// That is the answer to those without the capability too, to whatever they say.
	err = c.Tell(ctx, netlink.Request{Kind: messagePacket, Purpose: netlink.Purpose("ask for the capability")})
	return !errors.Is(err, unix.EPERM)
}
