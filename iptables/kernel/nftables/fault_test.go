package nftables

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
	"golang.org/x/sys/unix"
)

// faulty passes messages to the real kernel and back, and lets a test change
// them on the way. It is only for faults that this kernel cannot be made to
// produce itself.
type faulty struct {
	netlink.Socket
	// onSend returns an answer that the message gets instead of being sent,
	// or nil.
	onSend func(request []byte) (answer []byte)
	// onReceive changes what the kernel answered.
	onReceive func(answer []byte) ([]byte, error)
	answer    []byte
}

func (f *faulty) Send(request []byte) error {
	if f.onSend != nil {
		if f.answer = f.onSend(request); f.answer != nil {
			return nil
		}
	}
	return f.Socket.Send(request)
}

func (f *faulty) Receive(ctx context.Context) ([]byte, error) {
	if answer := f.answer; answer != nil {
		f.answer = nil
		return answer, nil
	}
	b, err := f.Socket.Receive(ctx)
	if err != nil || f.onReceive == nil {
		return b, err
	}
	return f.onReceive(b)
}

func faultyBackend(f faulty) *Backend { return impatientBackend(f, 0) }

// impatientBackend is one that waits for lost answers as long as d, if that is not 0.
func impatientBackend(f faulty, d time.Duration) *Backend {
	ns := namespace.Own()
	ns.SetDial(func() (netlink.Socket, error) {
		s, err := netlink.Dial(unix.NETLINK_NETFILTER)
		if err == nil && d > 0 {
			s.SetTimeout(d)
		}
		f := f
		f.Socket = s
		return &f, err
	})
	return New(ns, owned)
}

// compatGet is the type of NFNL_MSG_COMPAT_GET, by which nft_compat is asked
// (linux/netfilter/nf_tables_compat.h).
const compatGet = unix.NFNL_SUBSYS_NFT_COMPAT << 8

// refusal is the kernel's negative answer to the message with that number: struct
// nlmsghdr and struct nlmsgerr (linux/netlink.h).
func refusal(sequence uint32, errno unix.Errno) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+4+unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr:], uint32(-int32(errno)))
	return b
}

// refusals are the negative answers to all messages of a request.
func refusals(request []byte, errno unix.Errno) []byte {
	var all []byte
	for m := range split(request) {
		all = append(all, refusal(sequenceOf(m), errno)...)
	}
	return all
}

func kindOf(request []byte) uint16       { return binary.NativeEndian.Uint16(request[4:]) }
func sequenceOf(request []byte) uint32   { return binary.NativeEndian.Uint32(request[8:]) }
func isBatch(request []byte) bool        { return kindOf(request) == unix.NFNL_MSG_BATCH_BEGIN }
func setFlag(answer []byte, flag uint16) { answer[6] |= byte(flag) }

// isDump reports whether the last of the requests is for a list.
func isDump(requests []byte) bool {
	last := requests
	for rest := requests; len(rest) > 0; rest = rest[binary.NativeEndian.Uint32(rest):] {
		last = rest
	}
	return binary.NativeEndian.Uint16(last[6:])&unix.NLM_F_DUMP != 0
}

// firstRule returns the sequence number of the first new rule of a batch that
// has some bytes in it.
func firstRule(t testing.TB, request []byte, with string) uint32 {
	t.Helper()
	for m := range split(request) {
		if kindOf(m) == netlink.NFTables(unix.NFT_MSG_NEWRULE) && bytes.Contains(m, []byte(with)) {
			return sequenceOf(m)
		}
	}
	t.Fatal("the batch has no such rule")
	return 0
}

// split returns each message of a batch, header included.
func split(request []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(request) > 0 {
			size := binary.NativeEndian.Uint32(request)
			if !yield(request[:size]) {
				return
			}
			request = request[size:]
		}
	}
}

// isInstalled fails unless exactly want is installed.
func isInstalled(t testing.TB, want iptables.Ruleset) {
	t.Helper()
	rs := load(t)
	if own := owned.Of(rs); !own.Equal(&want) {
		t.Errorf("installed is\n%s\nnot\n%s", text(own), text(want))
	}
}

func TestInterruptedDump(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	replace(t, want)
	interruptions := 3
	b := faultyBackend(faulty{onReceive: func(answer []byte) ([]byte, error) {
		if kindOf(answer) == netlink.NFTables(unix.NFT_MSG_NEWRULE) && interruptions > 0 {
			interruptions--
			setFlag(answer, unix.NLM_F_DUMP_INTR)
		}
		return answer, nil
	}})
	have, err := b.Load(t.Context())
	if own := owned.Of(have.Rules); err != nil || !own.Equal(&want) || interruptions != 0 {
		t.Errorf("%v, %d interruptions left, loaded\n%s", err, interruptions, text(own))
	}
}

// What is read is of one moment, also if rules change between lists, none of which was
// interrupted.
func TestChangeBetweenLists(t *testing.T) {
	for _, list := range []uint16{unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		nstest.Enter(t)
		runNFT(t, "table ip nat { chain ISTIO_OUTPUT { return; }; }")
		changes := 1
		b := faultyBackend(faulty{onSend: func(request []byte) []byte {
			if kindOf(request) == netlink.NFTables(list) && changes > 0 {
				changes--
				nstest.Run(t, "nft", "delete chain ip nat ISTIO_OUTPUT; add table ip mangle; "+
					"add chain ip mangle ISTIO_OUTPUT; add rule ip mangle ISTIO_OUTPUT drop")
			}
			return nil
		}})
		have, err := b.Load(t.Context())
		if err != nil || changes != 0 {
			t.Fatalf("%v, %d changes left", err, changes)
		}
		want := text(load(t))
		if got := text(have.Rules); got != want || !strings.Contains(got, "-A ISTIO_OUTPUT -j DROP") {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestEndlesslyInterruptedDump(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "nft", "add table ip nat")
	b := faultyBackend(faulty{onSend: func(request []byte) []byte {
		if isDump(request) {
			return refusal(sequenceOf(request), unix.EINTR)
		}
		return nil
	}})
	if _, err := b.Load(t.Context()); !errors.Is(err, netlink.ErrChanged) {
		t.Errorf("got %v", err)
	}
}

func TestChangeBetweenLoadAndCommit(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	changes := 3
	b := faultyBackend(faulty{onSend: func(request []byte) []byte {
		// Not a fault, but another program's transaction at the worst time.
		if isBatch(request) && changes > 0 {
			changes--
			nstest.Run(t, "nft", "add table ip nat; add chain ip nat ISTIO_OUTPUT; add rule ip nat ISTIO_OUTPUT drop")
		}
		return nil
	}})
	if err := b.Replace(t.Context(), installed.Backend{}, want); err != nil || changes != 0 {
		t.Errorf("%v, %d changes left", err, changes)
	}
	isInstalled(t, want)
}

// Reading sends no transaction, not even one to check. What was read is not read again to
// be replaced, unless it has been changed meanwhile or is replaced once more.
func TestReplaceStartsFromWhatWasRead(t *testing.T) {
	nstest.Enter(t)
	dumps, batches := 0, 0
	b := faultyBackend(faulty{onSend: func(request []byte) []byte {
		switch {
		case isBatch(request):
			batches++
		case isDump(request):
			dumps++
		}
		return nil
	}})
	sent := func() (d, b int) {
		d, b, dumps, batches = dumps, batches, 0, 0
		return d, b
	}
	for _, disturb := range []bool{false, true} {
		have, err := Read(t.Context(), b.namespace, owned)
		if err != nil {
			t.Fatal(err)
		}
		if d, b := sent(); d == 0 || b > 0 {
			t.Errorf("reading: %d dumps, %d transactions", d, b)
		}
		if disturb {
			nstest.Run(t, "nft", "add table ip other")
		}
		want, again := sidecarRules(t), 0
		if disturb {
			want, again = iptables.Ruleset{}, 1
		}
		if err := b.Replace(t.Context(), have.Backend(installed.NFT), want); err != nil {
			t.Fatal(err)
		}
		if d, b := sent(); (d > 0) != disturb || b != 1+again {
			t.Errorf("replacing, disturbed: %t: %d dumps, %d transactions", disturb, d, b)
		}
		isInstalled(t, want)
		if err := b.Replace(t.Context(), have.Backend(installed.NFT), want); err != nil {
			t.Fatal(err)
		}
		if d, b := sent(); d == 0 || b > 0 {
			t.Errorf("replacing once more: %d dumps, %d transactions", d, b)
		}
	}
}

func TestLostAnswer(t *testing.T) {
	for name, fault := range map[string]error{
		"nothing comes": unix.EAGAIN,
		"interrupted":   os.NewSyscallError("recvfrom", unix.EBADF),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			want := sidecarRules(t)
			lost := 0
			b := faultyBackend(faulty{onReceive: func(answer []byte) ([]byte, error) {
				if kindOf(answer) == unix.NLMSG_ERROR && lost == 0 {
					lost++
					return nil, fault
				}
				return answer, nil
			}})
			if err := b.Replace(t.Context(), installed.Backend{}, want); err != nil || lost == 0 {
				t.Errorf("%v, %d answers lost", err, lost)
			}
			isInstalled(t, want)
		})
	}
}

// A kernel that never answers is given up, and the error says what is not known.
func TestLostAnswers(t *testing.T) {
	nstest.Enter(t)
	commits := 0
	b := impatientBackend(faulty{onSend: func(request []byte) []byte {
		if isBatch(request) {
			commits++
			return refusal(sequenceOf(request)-1, unix.EINVAL) // to nobody's question
		}
		return nil
	}}, time.Second)
	err := b.Replace(t.Context(), installed.Backend{}, sidecarRules(t))
	var failure *ReplaceError
	if !errors.As(err, &failure) || !failure.Unknown || commits != maxLostAnswers {
		t.Errorf("got %v after %d attempts", err, commits)
	}
}

// An overrun socket says so once, then gives what it kept: here nothing, so that
// the outcome has to be looked up.
func TestOverrun(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	answers := 0
	b := impatientBackend(faulty{onReceive: func(answer []byte) ([]byte, error) {
		if kindOf(answer) != unix.NLMSG_ERROR {
			return answer, nil
		}
		answers++
		if answers == 1 {
			// The next receive waits for what was lost, which the socket's
			// timeout ends.
			return nil, os.NewSyscallError("recvfrom", unix.ENOBUFS)
		}
		return answer, nil
	}}, time.Second)
	if err := b.Replace(t.Context(), installed.Backend{}, want); err != nil || answers != 1 {
		t.Errorf("%v, %d answers", err, answers)
	}
	isInstalled(t, want)
}
