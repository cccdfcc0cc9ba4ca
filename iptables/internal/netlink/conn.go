// Package netlink talks to the kernel over netlink (netlink(7)): messages and their
// attributes, questions, lists, and the transactions of nf_tables. It does not know what
// the messages mean.
//
// The Conn of github.com/google/nftables is not used because it asks for an
// acknowledgement and an echo of each change (which no receive buffer holds for
// 10,000 rules), cannot name a generation, and does not tell the protocol of a rule
// to the extensions multiport and TPROXY, which then refuse it.
package netlink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Conn asks the kernel over a socket, one request after the other.
type Conn struct {
	socket   Socket
	builder  Builder // of the latest requests: its buffer serves the next
	sequence uint32
	broken   bool
	// listed says that the latest Dump had elements, and stamp is what its last one had in
	// nfgenmsg.res_id.
	listed bool
	stamp  uint16
}

// NewConn returns a connection over a socket.
func NewConn(s Socket) *Conn { return &Conn{socket: s} }

// Close closes the socket.
func (c *Conn) Close() error { return c.socket.Close() }

// Broken reports whether answers were lost or are left over, so that the next answer may
// belong to another request. Replace such a connection.
func (c *Conn) Broken() bool { return c.broken }

// receive returns the next messages. The end of the context ends the wait.
func (c *Conn) receive(ctx context.Context) ([]byte, error) {
	b, err := c.socket.Receive(ctx)
	c.broken = c.broken || err != nil
	return b, err
}

// malformed is the error of an answer that cannot be split.
func (c *Conn) malformed(err error) error {
	c.broken = true
	return err
}

// Request is a message to the kernel.
type Request struct {
	Kind  uint16 // the type, with that of the subsystem; see [NFTables]
	Flags uint16 // NLM_F_*, except those that Ask, Tell, Dump or Commit adds
	// Header is what comes before the attributes. Without it that is nfgenmsg, with the
	// family and the resource.
	Header     []byte
	Family     byte   // NFPROTO_*
	Resource   uint16 // nfgenmsg.res_id: the number of a log group, or the subsystem of a batch
	Attributes func(*Builder)
	// Purpose is its purpose, in words that can follow "failed to". A [Refusal] returns
	// it. Without one, take the [Reason] of the error.
	Purpose fmt.Stringer
}

// NFTables makes the type of a message of enum nf_tables_msg_types
// (linux/netfilter/nf_tables.h).
func NFTables(message uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | message }

// Purpose is a purpose as plain text.
type Purpose string

func (p Purpose) String() string { return string(p) }

// AskGeneration is the purpose of [Conn.Generation]'s request, the first that a kernel
// without nf_tables refuses.
const AskGeneration Purpose = "ask for nf_tables"

var askGeneration = Request{Kind: NFTables(unix.NFT_MSG_GETGEN), Purpose: AskGeneration}

// Generation returns the generation of the kernel's rules, which every transaction in the
// namespace increases (NFT_MSG_GETGEN).
func (c *Conn) Generation(ctx context.Context) (uint32, error) {
	answer, err := c.Ask(ctx, askGeneration)
	if err != nil {
		return 0, err
	}
	return answer.generation()
}

// generation returns what the answer to askGeneration says.
func (m Message) generation() (uint32, error) {
	for kind, value := range m.Attributes() {
		if kind == unix.NFTA_GEN_ID {
			return ReadUint32(value), nil
		}
	}
	return 0, fmt.Errorf("generation of nf_tables: %w", errMalformed)
}

// CheckGeneration returns [ErrChanged] if the generation was another at the end of the latest
// Dump. It asks the kernel only if that list does not tell: each of its elements has the low
// 16 bits of the generation of its moment (nft_base_seq in net/netfilter/nf_tables_api.c).
func (c *Conn) CheckGeneration(ctx context.Context, generation uint32) error {
	if c.listed && c.stamp == uint16(generation) {
		return nil
	}
	now, err := c.Generation(ctx)
	if err == nil && now != generation {
		err = ErrChanged
	}
	return err
}

// Ask sends a request and returns the first message that answers it. An acknowledgement
// is no answer.
func (c *Conn) Ask(ctx context.Context, r Request) (answer Message, err error) {
	first, err := c.request(r)
	if err != nil {
		return Message{}, err
	}
	err = c.each(ctx, first, []Request{r}, func(_ int, m Message, refusal error) error {
		answer = m
		return refusal
	})
	return answer, err
}

// AskAll sends requests at once, each of which the kernel answers with one message, and
// returns the refusal of each, or nil. The other error is about all.
func (c *Conn) AskAll(ctx context.Context, requests []Request) (refusals []error, err error) {
	if len(requests) == 0 {
		return nil, nil
	}
	first, err := c.request(requests...)
	if err != nil {
		return nil, err
	}
	refusals = make([]error, len(requests))
	err = c.each(ctx, first, requests, func(i int, _ Message, refusal error) error {
		refusals[i] = refusal
		return nil
	})
	return refusals, err
}

// each calls answered for the answer to each of the requests, from a sequence number on: a
// message or a refusal, in order.
func (c *Conn) each(ctx context.Context, first uint32, requests []Request, answered func(i int, m Message, refusal error) error) error {
	if len(requests) == 0 {
		return nil
	}
	i := 0
	return c.answers(ctx, first, func(m Message) (done bool, err error) {
		// The kernel answers in order.
		if m.Sequence != first+uint32(i) {
			return false, nil
		}
		var refusal error
		if m.Kind == unix.NLMSG_ERROR {
			if refusal = m.failure(requests[i].Purpose); refusal == nil {
				// An acknowledgement is no answer.
				return false, nil
			}
		}
		i++
		return i == len(requests), answered(i-1, m, refusal)
	})
}

// Tell sends a request that the kernel answers with an acknowledgement.
func (c *Conn) Tell(ctx context.Context, r Request) error {
	r.Flags |= unix.NLM_F_ACK
	if _, err := c.request(r); err != nil {
		return err
	}
	return c.answers(ctx, c.sequence, func(m Message) (done bool, err error) {
		if m.Kind != unix.NLMSG_ERROR {
			return false, nil
		}
		return true, m.failure(r.Purpose)
	})
}

// Dump sends a request for a list and calls each for every element. The element is valid
// during the call. The error is [ErrChanged] if the list changed meanwhile.
func (c *Conn) Dump(ctx context.Context, r Request, each func(Message)) error {
	return c.DumpAfter(ctx, nil, nil, r, each)
}

// DumpAfter is Dump after questions in the same round trip. It calls answered for each of
// them, in order and by its number, with the message that answers it, valid during the call, or
// the refusal.
func (c *Conn) DumpAfter(ctx context.Context, questions []Request, answered func(i int, m Message, refusal error) error, r Request, each func(Message)) error {
	r.Flags |= unix.NLM_F_DUMP
	first, err := c.request(append(slices.Clip(questions), r)...)
	if err != nil {
		return err
	}
	if err := c.each(ctx, first, questions, answered); err != nil {
		return err
	}
	return c.list(ctx, r, each)
}

// DumpWithGeneration is Dump, and in the same round trip [Conn.Generation], of the moment
// before.
func (c *Conn) DumpWithGeneration(ctx context.Context, r Request, each func(Message)) (generation uint32, err error) {
	err = c.DumpAfter(ctx, []Request{askGeneration}, func(_ int, m Message, refusal error) error {
		if refusal != nil {
			return refusal
		}
		generation, err = m.generation()
		return err
	}, r, each)
	return generation, err
}

// list calls each for every element of the list that the latest request asks for.
func (c *Conn) list(ctx context.Context, r Request, each func(Message)) error {
	c.listed = false
	interrupted := false
	return c.answers(ctx, c.sequence, func(m Message) (done bool, err error) {
		interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		if m.Kind != unix.NLMSG_DONE && m.Kind != unix.NLMSG_ERROR {
			c.listed, c.stamp = true, m.resource()
			each(m)
			return false, nil
		}
		err = m.failure(r.Purpose)
		if interrupted || errors.Is(err, unix.EINTR) {
			return true, ErrChanged
		}
		return true, err
	})
}

// answers calls each for the messages that answer the latest requests, from a sequence number
// on, until it is done or returns an error. What comes after that in one receive is lost: the
// kernel sends the answer to each request by itself.
func (c *Conn) answers(ctx context.Context, first uint32, each func(Message) (done bool, err error)) error {
	for {
		b, err := c.receive(ctx)
		if err != nil {
			return err
		}
		for m, err := range Messages(b) {
			if err != nil {
				return c.malformed(err)
			}
			if m.Sequence-first > c.sequence-first {
				continue
			}
			if done, err := each(m); done || err != nil {
				return err
			}
		}
	}
}

// request sends requests at once and returns the sequence number of the first. That of the
// last is the connection's.
func (c *Conn) request(requests ...Request) (first uint32, err error) {
	first = c.sequence + 1
	c.builder.buf = c.builder.buf[:0]
	for _, r := range requests {
		c.sequence++
		c.builder.message(r, c.sequence)
	}
	return first, c.socket.Send(c.builder.buf)
}
