package netlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrChanged means that another program changed the state while it was read.
	ErrChanged = errors.New("another program keeps changing the rules")
	// ErrNoAnswer means that nobody knows whether the kernel made the transaction.
	ErrNoAnswer = errors.New("the kernel's answer was lost")

	errMalformed = errors.New("the kernel's answer is malformed")
)

// Refusal is the kernel's negative answer to a request.
type Refusal struct {
	Purpose fmt.Stringer // of the request
	Errno   unix.Errno
	// Explanation is the kernel's explanation, if any.
	Explanation string
	// Request is the request as the kernel returns it, which may have written into it.
	// It is empty if the kernel returns none.
	Request Message
}

func (r *Refusal) Error() string {
	s := fmt.Sprintf("failed to %s: %v", r.Purpose, r.Errno)
	if r.Explanation != "" {
		s += ": " + r.Explanation
	}
	return s
}

// Unwrap returns the errno.
func (r *Refusal) Unwrap() error { return r.Errno }

// Reason returns an error without the purpose, for callers that say themselves what
// failed: of a *[Refusal] the errno and the explanation.
func Reason(err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	if r.Explanation == "" {
		return r.Errno
	}
	return fmt.Errorf("%w: %s", r.Errno, r.Explanation)
}

// TooLargeError is a transaction that does not fit the socket's send buffer.
type TooLargeError struct {
	Size int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("a transaction of %d bytes is more than a socket may send here", e.Size)
}

// Unwrap returns EMSGSIZE.
func (e *TooLargeError) Unwrap() error { return unix.EMSGSIZE }

// failure returns the *[Refusal] in a message with a result, or nil if the result is
// success.
func (m Message) failure(purpose fmt.Stringer) error {
	if refusal := m.refusal(purpose); refusal.Errno != 0 {
		return refusal
	}
	return nil
}

// refusal reads struct nlmsgerr, or the number that NLMSG_DONE carries, and the extended
// acknowledgement after it (linux/netlink.h). An errno of 0 is no refusal.
func (m Message) refusal(purpose fmt.Stringer) *Refusal {
	r := &Refusal{Purpose: purpose}
	if len(m.body) < 4 {
		return r
	}
	r.Errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
	if r.Errno != 0 && m.Kind == unix.NLMSG_ERROR && m.flags&unix.NLM_F_CAPPED == 0 {
		// What was received is valid only until the next answer.
		for request := range Messages(bytes.Clone(m.body[4:])) {
			r.Request = request
			break
		}
	}
	if m.Kind != unix.NLMSG_ERROR || m.flags&unix.NLM_F_ACK_TLVS == 0 || len(m.body) < 4+headerSize {
		return r
	}
	offset := 4 + headerSize
	if m.flags&unix.NLM_F_CAPPED == 0 {
		offset = 4 + align4(int(binary.NativeEndian.Uint32(m.body[4:])))
	}
	if offset > len(m.body) {
		return r
	}
	for kind, value := range Attributes(m.body[offset:]) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			r.Explanation = ReadString(value)
		}
	}
	return r
}
