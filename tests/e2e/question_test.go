package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// question is one to ask "meshtables explain": what becomes of a connection by
// the rules in one pod.
type question struct {
	in *pod
	// words are the verb's arguments.
	words []string
}

// out asks what becomes of a connection of the pod's application.
func (p *pod) out(to netip.AddrPort) question { return p.outAs(appUser.As, to) }

// proxyOut asks what becomes of a connection of the pod's sidecar.
func (p *pod) proxyOut(to netip.AddrPort) question { return p.outAs(p.proxy.user.As, to) }

// outAs asks what becomes of a connection of anybody in the pod.
func (p *pod) outAs(who lab.Identity, to netip.AddrPort) question {
	return question{p, []string{"out", to.String(), fmt.Sprintf("--uid=%d", who.UID), fmt.Sprintf("--gid=%d", who.GID)}}
}

// inward asks what becomes of a connection that comes to the pod.
func (p *pod) inward(to netip.AddrPort) question {
	return question{p, []string{"in", to.String()}}
}

// udp returns the question about a datagram to the same place.
func (q question) udp() question {
	q.words = append(q.words[:len(q.words):len(q.words)], "--proto=udp")
	return q
}

// from returns the question about a connection from an address.
func (q question) from(source netip.Addr) question {
	q.words = append(q.words[:len(q.words):len(q.words)], "--from="+source.String())
	return q
}

// explainTimeout bounds what explains one failure.
const explainTimeout = time.Minute

// errorf reports what went wrong, with what explains it: the answers to the
// questions, and what the sidecars have logged. It does so in a story whose time is
// over too.
func (m *mesh) errorf(t testing.TB, about []question, format string, args ...any) {
	t.Helper()
	ctx, end := context.WithTimeout(context.WithoutCancel(t.Context()), explainTimeout)
	defer end()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	for _, q := range about {
		command := append([]string{"explain"}, append(q.words, "--live")...)
		out, err := m.meshtables(ctx, q.in, command...)
		fmt.Fprintf(&b, "\n\nin the %s's pod: meshtables %s\n%s", q.in.name, strings.Join(command, " "), out)
		if err != nil {
			fmt.Fprintf(&b, "(%v)", err)
		}
	}
	for _, p := range m.pods() {
		if p.sidecar != nil {
			fmt.Fprintf(&b, "\n\nthe %s's sidecar:\n%s", p.name, tail(p.sidecar.logged(), 20))
		}
	}
	t.Error(b.String())
}

// fatalf is errorf where nothing that follows would tell more.
func (m *mesh) fatalf(t testing.TB, about []question, format string, args ...any) {
	t.Helper()
	m.errorf(t, about, format, args...)
	t.FailNow()
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
