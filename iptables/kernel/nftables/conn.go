package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// conn asks the kernel questions over a socket.
type conn struct {
	socket
	sequence uint32
}

// subsystem makes the type of a message to nf_tables.
func subsystem(message uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | message }

const askGeneration = "ask for nf_tables"

// generation returns the number of the state that the kernel's rules are in,
// which every transaction in the namespace increases (NFT_MSG_GETGEN).
func (c *conn) generation() (uint32, error) {
	answer, err := c.ask(subsystem(unix.NFT_MSG_GETGEN), unix.NFPROTO_UNSPEC, askGeneration, nil)
	if err != nil {
		return 0, err
	}
	for kind, value := range answer.attributes() {
		if kind == unix.NFTA_GEN_ID {
			return readUint32(value), nil
		}
	}
	return 0, fmt.Errorf("generation of nf_tables: %w", errMalformed)
}

// ask sends one message and returns the first that answers it.
func (c *conn) ask(kind uint16, family byte, what string, attributes func(*builder)) (message, error) {
	if err := c.request(kind, 0, family, attributes); err != nil {
		return message{}, err
	}
	for {
		b, err := c.receive()
		if err != nil {
			return message{}, err
		}
		for m, err := range messages(b) {
			if err != nil {
				return message{}, err
			}
			if m.sequence != c.sequence {
				continue
			}
			if m.kind == unix.NLMSG_ERROR {
				errno, explanation := m.error()
				return message{}, kernelError(operation{what: what}, errno, explanation, nil)
			}
			return m, nil
		}
	}
}

// dump sends one message that asks for a list and calls each for every element.
// The error is errChanged if the list changed meanwhile.
func (c *conn) dump(kind uint16, what string, each func(message)) error {
	return c.dumpOf(kind, unix.NFPROTO_UNSPEC, what, nil, each)
}

// dumpOf is dump limited to a family and to what the attributes name.
func (c *conn) dumpOf(kind uint16, family byte, what string, attributes func(*builder), each func(message)) error {
	if err := c.request(kind, unix.NLM_F_DUMP, family, attributes); err != nil {
		return err
	}
	interrupted := false
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for m, err := range messages(b) {
			if err != nil {
				return err
			}
			if m.sequence != c.sequence {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				errno, explanation := m.error()
				if interrupted || errno == unix.EINTR {
					return errChanged
				}
				if errno != 0 {
					return kernelError(operation{what: what}, errno, explanation, nil)
				}
				return nil
			default:
				each(m)
			}
		}
	}
}

func (c *conn) request(kind, flags uint16, family byte, attributes func(*builder)) error {
	c.sequence++
	var b builder
	start := b.open(kind, flags, c.sequence, family, 0)
	if attributes != nil {
		attributes(&b)
	}
	b.close(start)
	return c.send(b.buf)
}

// error reads struct nlmsgerr, or the number that NLMSG_DONE carries, and the
// extended acknowledgement after it (linux/netlink.h).
func (m message) error() (errno unix.Errno, explanation string) {
	if len(m.body) < 4 {
		return 0, ""
	}
	errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
	if m.kind != unix.NLMSG_ERROR || m.flags&unix.NLM_F_ACK_TLVS == 0 || len(m.body) < 4+headerSize {
		return errno, ""
	}
	offset := 4 + headerSize
	if m.flags&unix.NLM_F_CAPPED == 0 {
		offset = 4 + align4(int(binary.NativeEndian.Uint32(m.body[4:])))
	}
	if offset > len(m.body) {
		return errno, ""
	}
	for kind, value := range attributes(m.body[offset:]) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			explanation = readString(value)
		}
	}
	return errno, explanation
}

// commit sends a batch and waits for its outcome. The batch asks for one
// acknowledgement, of its last message, so that the answer to the largest batch
// fits any receive buffer; a failure is answered first, with the message that
// failed, or the batch's begin for the transaction as a whole
// (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
func (c *conn) commit(b *batch) error {
	b.finish()
	c.sequence = b.last
	if err := c.send(b.buf); err != nil {
		return err
	}
	for {
		answer, err := c.receive()
		if errors.Is(err, unix.ENOBUFS) {
			// Some answers did not fit; the first ones did.
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		for m, err := range messages(answer) {
			if err != nil {
				return fmt.Errorf("%w: %w", errNoAnswer, err)
			}
			if m.kind != unix.NLMSG_ERROR || !b.has(m.sequence) {
				continue
			}
			if errno, explanation := m.error(); errno != 0 {
				o := b.operation(m.sequence)
				return kernelError(o, errno, explanation, c.missing(o, errno))
			}
			if m.sequence == b.last {
				return nil
			}
		}
	}
}

// missing asks which extensions of a refused rule the kernel lacks: its answer
// to the rule names none. The native form takes none.
func (c *conn) missing(o operation, errno unix.Errno) []neededExtension {
	if o.rule == nil || o.family == inet || errno != unix.ENOENT && errno != unix.EOPNOTSUPP && errno != unix.EPROTONOSUPPORT {
		return nil
	}
	var missing []neededExtension
	for _, x := range extensionsOf(o.family, o.rule) {
		if ok, err := c.has(x); err == nil && !ok {
			missing = append(missing, x)
		}
	}
	return missing
}
