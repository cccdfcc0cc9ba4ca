package probe

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// prepare opens the sockets of all attempts, listeners first. An attempt whose socket
// cannot be opened reports that itself. It returns the place outside, or nil; the caller
// closes it.
func prepare(ctx context.Context, here *namespace.Namespace, attempts []*attempt, p *post) *outside {
	there, thereErr := openOutsideFor(ctx, here, attempts)
	if slices.ContainsFunc(attempts, func(a *attempt) bool { return a.family == iptables.IPv6 }) {
		settleAll(ctx, here, there)
	}
	for _, a := range attempts {
		a.err = a.listenAs(p)
		if thereErr != nil && (a.isOutside() || a.mark != 0 && !hasRoute(ctx, here, a.from)) {
			// An answer to a client needs a route before its mark can select another.
			a.err = thereErr
		}
	}
	for _, a := range attempts {
		a.arrived = p.expect(a.token)
		switch {
		case a.err != nil:
		case !a.isOutside():
			a.err = a.who.as(a.open)
		default:
			a.err = there.ns.Do(a.open)
		}
	}
	return there
}

// openOutsideFor returns the place outside for the attempts that come from there, or nil
// if none does.
func openOutsideFor(ctx context.Context, here *namespace.Namespace, attempts []*attempt) (*outside, error) {
	var links []linkOutside
	for _, a := range attempts {
		if a.isOutside() && !slices.Contains(links, a.by) {
			links = append(links, a.by)
		}
	}
	if len(links) == 0 {
		return nil, nil
	}
	return openOutside(ctx, here, links)
}

// listenAs makes the listener as the user that it stands for, as there may be rules about
// that user's answers. A program that may not become that user usually is the proxy.
func (a *attempt) listenAs(p *post) error {
	listen := func() error { return a.listen(p) }
	err := a.listener.as(listen)
	if errors.Is(err, fs.ErrPermission) {
		return listen()
	}
	return err
}
