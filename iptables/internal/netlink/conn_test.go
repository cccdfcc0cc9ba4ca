package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// answers is a kernel that has its answers ready.
type answers [][]byte

func (a *answers) Send([]byte) error { return nil }
func (a *answers) Close() error      { return nil }
func (a *answers) Receive(context.Context) ([]byte, error) {
	if len(*a) == 0 {
		return nil, unix.EAGAIN
	}
	next := (*a)[0]
	*a = (*a)[1:]
	return next, nil
}

// answer is a message to the first request. NLMSG_ERROR has its errno in place of
// nfgenmsg (struct nlmsgerr, linux/netlink.h).
func answer(kind uint16, errno unix.Errno) []byte {
	var b Builder
	b.message(Request{Kind: kind}, 1)
	if kind == unix.NLMSG_ERROR {
		binary.NativeEndian.PutUint32(b.buf[headerSize:], uint32(-int32(errno)))
	}
	return b.buf
}

func TestAsk(t *testing.T) {
	t.Parallel()
	kind := NFTables(unix.NFT_MSG_NEWGEN)
	for name, tt := range map[string]struct {
		answers answers
		want    error
	}{
		"answered":     {answers{answer(kind, 0)}, nil},
		"acknowledged": {answers{answer(unix.NLMSG_ERROR, 0), answer(kind, 0)}, nil},
		"refused":      {answers{answer(unix.NLMSG_ERROR, unix.EPERM), answer(kind, 0)}, unix.EPERM},
	} {
		m, err := NewConn(&tt.answers).Ask(t.Context(), Request{Kind: NFTables(unix.NFT_MSG_GETGEN), Purpose: AskGeneration})
		if !errors.Is(err, tt.want) || err == nil && m.Kind != kind {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
}

// Each of several requests has its own answer, however many messages come at once.
func TestAskAll(t *testing.T) {
	t.Parallel()
	kind := NFTables(unix.NFT_MSG_NEWGEN)
	to := func(sequence uint32, b []byte) []byte {
		binary.NativeEndian.PutUint32(b[8:], sequence)
		return b
	}
	yes := func(sequence uint32) []byte { return to(sequence, answer(kind, 0)) }
	no := func(sequence uint32) []byte { return to(sequence, answer(unix.NLMSG_ERROR, unix.ENOENT)) }
	requests := make([]Request, 3)
	for i := range requests {
		requests[i] = Request{Kind: kind, Purpose: AskGeneration}
	}
	for name, answers := range map[string]answers{
		"one by one": {yes(1), no(2), yes(3)},
		"together":   {slices.Concat(yes(1), no(2)), yes(3)},
		"late ones":  {no(0), to(1, answer(unix.NLMSG_ERROR, 0)), slices.Concat(yes(1), no(2), yes(3))},
	} {
		refusals, err := NewConn(&answers).AskAll(t.Context(), requests)
		if err != nil || len(refusals) != 3 || refusals[0] != nil || !errors.Is(refusals[1], unix.ENOENT) || refusals[2] != nil {
			t.Errorf("%s: got %v, %v", name, refusals, err)
		}
	}
	if _, err := NewConn(&answers{yes(1), no(2)}).AskAll(t.Context(), requests); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("without the last answer: got %v", err)
	}
	if refusals, err := NewConn(&answers{}).AskAll(t.Context(), nil); refusals != nil || err != nil {
		t.Errorf("nothing to ask: got %v, %v", refusals, err)
	}
}

// The generation is asked for again only if a list does not tell, or tells of another.
func TestCheckGeneration(t *testing.T) {
	t.Parallel()
	const generation = 0x12345
	to := func(sequence uint32, b []byte) []byte {
		binary.NativeEndian.PutUint32(b[8:], sequence)
		return b
	}
	isNow := func(sequence, generation uint32) []byte {
		var b Builder
		b.message(Request{Kind: NFTables(unix.NFT_MSG_NEWGEN), Attributes: func(b *Builder) { b.PutUint32(unix.NFTA_GEN_ID, generation) }}, sequence)
		return b.buf
	}
	element := func(stamp uint16) []byte {
		var b Builder
		b.message(Request{Kind: NFTables(unix.NFT_MSG_NEWTABLE), Resource: stamp}, 2)
		return b.buf
	}
	end := to(2, answer(unix.NLMSG_DONE, 0))
	for name, tt := range map[string]struct {
		list [][]byte
		asks answers
		want error
	}{
		"told":                   {list: [][]byte{element(0x2345)}},
		"told by the last":       {list: [][]byte{element(0x2344), element(0x2345)}},
		"not told":               {asks: answers{isNow(3, generation)}},
		"not told, changed":      {asks: answers{isNow(3, generation+1)}, want: ErrChanged},
		"told of another":        {list: [][]byte{element(0x2346)}, asks: answers{isNow(3, generation+1)}, want: ErrChanged},
		"a kernel that tells 0":  {list: [][]byte{element(0)}, asks: answers{isNow(3, generation)}},
		"not told, not answered": {want: unix.EAGAIN},
	} {
		kernel := answers(slices.Concat([][]byte{isNow(1, generation)}, tt.list, [][]byte{end}, tt.asks))
		c, elements := NewConn(&kernel), 0
		got, err := c.DumpWithGeneration(t.Context(), Request{Kind: NFTables(unix.NFT_MSG_GETTABLE)}, func(Message) { elements++ })
		if err != nil || got != generation || elements != len(tt.list) {
			t.Errorf("%s: got %#x, %d elements, %v", name, got, elements, err)
		}
		if err := c.CheckGeneration(t.Context(), generation); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
		if len(kernel) > 0 {
			t.Errorf("%s: %d answers were not asked for", name, len(kernel))
		}
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	kind := NFTables(unix.NFT_MSG_NEWGEN)
	for name, tt := range map[string]struct {
		answers answers
		want    error
	}{
		"acknowledged":              {answers{answer(unix.NLMSG_ERROR, 0)}, nil},
		"acknowledged after others": {answers{answer(kind, 0), answer(unix.NLMSG_ERROR, 0)}, nil},
		"refused":                   {answers{answer(unix.NLMSG_ERROR, unix.EPERM)}, unix.EPERM},
		"not answered":              {answers{answer(kind, 0)}, unix.EAGAIN},
	} {
		err := NewConn(&tt.answers).Tell(t.Context(), Request{Kind: kind, Purpose: AskGeneration})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
