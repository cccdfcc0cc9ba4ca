package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Batch is one transaction: the kernel makes all of its changes or none, and every packet
// passes the old rules or the new ones.
type Batch struct {
	builder Builder
	// first is the sequence number of the batch's begin, last that of its
	// latest change.
	first, last uint32
	lastStart   int
	purposes    []fmt.Stringer // by sequence number, from first on
}

// AnyGeneration is for a transaction that does not depend on the kernel's present rules
// (nf_tables_valid_genid in net/netfilter/nf_tables_api.c).
const AnyGeneration = 0

// NewBatch starts a transaction, which has to be the next thing that the connection
// sends. It fails with ERESTART if somebody has changed the kernel's rules since the
// given generation, unless that is [AnyGeneration].
func (c *Conn) NewBatch(generation uint32) *Batch {
	first := c.sequence + 1
	b := &Batch{first: first, last: first, purposes: []fmt.Stringer{Purpose("change the rules")}}
	b.end(unix.NFNL_MSG_BATCH_BEGIN, first, func(b *Builder) {
		b.PutUint32(unix.NFNL_BATCH_GENID, generation)
	})
	return b
}

// Add appends a change.
func (b *Batch) Add(r Request) {
	b.last++
	b.lastStart = len(b.builder.buf)
	if len(b.purposes) == cap(b.purposes) {
		b.purposes = slices.Grow(b.purposes, len(b.purposes))
	}
	b.purposes = append(b.purposes, r.Purpose)
	b.builder.message(r, b.last)
}

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool { return b.first == b.last }

// end appends one of the messages around the changes.
func (b *Batch) end(kind uint16, sequence uint32, attributes func(*Builder)) {
	b.builder.message(Request{Kind: kind, Resource: unix.NFNL_SUBSYS_NFTABLES, Attributes: attributes}, sequence)
}

// acknowledge asks for the acknowledgement of the last change.
func (b *Batch) acknowledge() {
	flags := b.builder.buf[b.lastStart+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
}

func (b *Batch) has(sequence uint32) bool {
	return sequence-b.first < uint32(len(b.purposes))
}

func (b *Batch) purpose(sequence uint32) fmt.Stringer { return b.purposes[sequence-b.first] }

// Commit sends a batch and waits for the result. The batch asks for one acknowledgement,
// of its last message, so that the answer to the largest batch fits any receive buffer.
// Failures are answered first, with the message that failed, or the batch's begin for the
// transaction as a whole (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
//
// The error is a *[Refusal], or [ErrNoAnswer] if the result is unknown, or says that the
// batch was not sent.
func (c *Conn) Commit(ctx context.Context, b *Batch) error {
	b.acknowledge()
	b.end(unix.NFNL_MSG_BATCH_END, b.last+1, nil)
	return c.send(ctx, b)
}

// Check sends a batch without its end. The kernel works through it as usual, loading
// modules if needed, and then undoes it: none of it ever takes effect, and the generation
// stays (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c, NFNL_ABORT_VALIDATE). nft
// --check does the same. The errors are those of Commit.
func (c *Conn) Check(ctx context.Context, b *Batch) error {
	b.acknowledge()
	return c.send(ctx, b)
}

func (c *Conn) send(ctx context.Context, b *Batch) error {
	c.sequence = b.last
	if err := c.socket.Send(b.builder.buf); err != nil {
		return err
	}
	for {
		answer, err := c.socket.Receive(ctx)
		if errors.Is(err, unix.ENOBUFS) {
			// Some answers did not fit; the first ones did.
			continue
		}
		if err != nil {
			c.broken = true
			return fmt.Errorf("%w: %w", ErrNoAnswer, err)
		}
		for m, err := range Messages(answer) {
			if err != nil {
				return fmt.Errorf("%w: %w", ErrNoAnswer, c.malformed(err))
			}
			if m.Kind != unix.NLMSG_ERROR || !b.has(m.Sequence) {
				continue
			}
			if err := m.failure(b.purpose(m.Sequence)); err != nil {
				// The refusals of later changes are still to come, and may fill the
				// buffer.
				c.broken = true
				return err
			}
			if m.Sequence == b.last {
				return nil
			}
		}
	}
}
