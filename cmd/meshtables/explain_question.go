package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
)

// question is what explain is asked. It knows nothing of the pod yet.
type question struct {
	inbound bool
	// to has no address if the pod's own is meant. from has no address, or no port,
	// if that is left open.
	to, from netip.AddrPort
	uid, gid *uint32
	options  explainOptions
}

// ephemeralPort is a port as the kernel gives it to a client.
const ephemeralPort = 40000

// elsewhere returns the address of another machine, from the ranges for documentation
// (RFC 5737, RFC 3849).
func elsewhere(f iptables.Family) netip.Addr {
	if f == iptables.IPv6 {
		return netip.MustParseAddr("2001:db8::1")
	}
	return netip.MustParseAddr("192.0.2.1")
}

// readQuestion reads the words in|out ADDR:PORT and the options about them. The
// error has all errors, each with what is allowed.
func (c *command) readQuestion(words []string) (question, error) {
	q := question{options: c.explainOptions}
	errs := []error{q.readPlace(words)}
	var err error
	if q.options.from != "" {
		if q.from, err = parseSource(q.options.from); err != nil {
			errs = append(errs, fmt.Errorf("--from %q: %w", q.options.from, err))
		}
	}
	if q.from.Addr().IsValid() && q.to.Addr().IsValid() && q.from.Addr().Is4() != q.to.Addr().Is4() {
		errs = append(errs, fmt.Errorf("--from %q: must be an %s address, because %s is one",
			q.options.from, iptables.FamilyOf(q.to.Addr()), q.to.Addr()))
	}
	users := host.Users{}
	if q.uid, err = c.readID("uid", q.options.uid, users.UserID); err != nil {
		errs = append(errs, err)
	}
	if q.gid, err = c.readID("gid", q.options.gid, users.GroupID); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, q.checkProxy())
	for _, name := range q.useless() {
		c.log.Warn(fmt.Sprintf("--%s has no effect: an %sbound packet has none", name, words[0]))
	}
	return q, errors.Join(errs...)
}

func (q *question) readPlace(words []string) error {
	if len(words) != 2 || words[0] != "in" && words[0] != "out" {
		return fmt.Errorf("explain %s: must be in ADDRESS:PORT or out ADDRESS:PORT\n"+
			hintPrefix+"for example explain in :8080 or explain out 203.0.113.10:443; without an address it explains everything", strings.Join(words, " "))
	}
	q.inbound = words[0] == "in"
	place := words[1]
	port, isPort := portAlone(place)
	if isPort && q.inbound {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("address %q: the port must be from 1 to 65535", place)
		}
		q.to = netip.AddrPortFrom(netip.Addr{}, uint16(n))
		return nil
	}
	var err error
	if q.to, err = parsePlace(place); err == nil {
		return nil
	}
	err = fmt.Errorf("address %q: %w", place, err)
	if isPort {
		err = fmt.Errorf("%w\n"+hintPrefix+"an outbound connection goes to an address, such as explain out 203.0.113.10:%s", err, port)
	}
	return err
}

// portAlone returns the port of a place without an address, with or without a colon.
func portAlone(place string) (port string, ok bool) {
	port, ok = strings.CutPrefix(place, ":")
	return port, ok || place != "" && strings.Trim(place, "0123456789") == ""
}

// parsePlace reads the address and port of one end of a connection.
func parsePlace(text string) (netip.AddrPort, error) {
	p, err := netip.ParseAddrPort(text)
	if err != nil {
		return p, errors.New("must be ADDRESS:PORT with a numeric address, such as 203.0.113.10:443 or [2001:db8::1]:443")
	}
	if p.Port() == 0 {
		return p, errors.New("the port must be from 1 to 65535")
	}
	return p, checkAddress(p.Addr())
}

// parseSource reads an address with or without a port.
func parseSource(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(a, 0), checkAddress(a)
	}
	p, err := parsePlace(text)
	if err != nil {
		return p, fmt.Errorf("%w; the port is optional", err)
	}
	return p, nil
}

func checkAddress(a netip.Addr) error {
	switch {
	case a.Is4In6():
		return fmt.Errorf("must be written as %s: packets to it are IPv4", a.Unmap())
	case a.Zone() != "":
		return errors.New("must have no zone: packets have none")
	case a.IsUnspecified():
		return errors.New("must not be the unspecified address")
	}
	return nil
}

// readID reads a user or group; nil means an application's. In CNI mode names belong
// to another file system.
func (c *command) readID(option, text string, find func(string) (uint32, error)) (*uint32, error) {
	if text == "" {
		return nil, nil
	}
	what := map[string]string{"uid": "user", "gid": "group"}[option]
	id := uint32(0)
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err == nil && n < math.MaxUint32:
		id = uint32(n)
	case c.cniMode || strings.Trim(text, "0123456789") == "":
		return nil, fmt.Errorf("--%s %q: must be the number of a %s, from 0 to %d", option, text, what, uint32(math.MaxUint32-1))
	default:
		if id, err = find(text); err != nil {
			return nil, fmt.Errorf("--%s %q: must be the name or number of a %s: %w", option, text, what, err)
		}
	}
	return &id, nil
}

// checkProxy refuses another user or mark for the proxy, whose own the rules know.
func (q *question) checkProxy() error {
	o := q.options
	if !o.byProxy || o.uid == "" && o.gid == "" && o.mark == 0 {
		return nil
	}
	return errors.New("--by-proxy: must come without --uid, --gid and --mark, because the rules say what the proxy has")
}

// useless returns the options that have no effect in this direction.
func (q *question) useless() []string {
	o := q.options
	given := map[string]string{"in-interface": o.in}
	if q.inbound {
		given = map[string]string{"out-interface": o.out, "uid": o.uid, "gid": o.gid}
		if o.byProxy {
			given["by-proxy"] = "true"
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] != "" {
			names = append(names, name)
		}
	}
	return names
}

// packets returns the packets to explain, one a family.
func (q *question) packets(s *subject, proxy func(iptables.Family) explain.Proxy) []iptables.Packet {
	addresses, path := s.addresses, &s.path
	families := []iptables.Family{iptables.FamilyOf(q.to.Addr())}
	if !q.to.Addr().IsValid() {
		families = q.families(addresses, path)
	}
	packets := make([]iptables.Packet, len(families))
	for i, f := range families {
		packets[i] = q.packet(f, addresses, path)
		if q.options.byProxy && !q.inbound {
			packets[i] = byProxy(packets[i], proxy(f))
		}
	}
	return packets
}

// byProxy returns the packet as the proxy sends it, as far as the rules say.
func byProxy(p iptables.Packet, proxy explain.Proxy) iptables.Packet {
	if proxy.Owner == nil {
		proxy.Owner = p.Owner
	}
	return proxy.Sends(p)
}

// families returns the families of the pod and of its rules, for a question without an
// address.
func (q *question) families(addresses []netip.Prefix, path *installed.Path) []iptables.Family {
	if q.from.Addr().IsValid() {
		return []iptables.Family{iptables.FamilyOf(q.from.Addr())}
	}
	var families []iptables.Family
	for _, f := range iptables.Families() {
		if _, has := ownAddress(f, addresses, path); has || path.Rules.Table(f, iptables.Nat) != nil {
			families = append(families, f)
		}
	}
	if families == nil {
		families = []iptables.Family{iptables.IPv4}
	}
	return families
}

func (q *question) packet(f iptables.Family, addresses []netip.Prefix, path *installed.Path) iptables.Packet {
	o := q.options
	own, _ := ownAddress(f, addresses, path)
	p := iptables.Packet{
		Hook: iptables.Prerouting, Protocol: o.protocol, State: ctstates()[o.ctstate],
		Source: elsewhere(f), SourcePort: ephemeralPort,
		Destination: own, DestinationPort: q.to.Port(),
		Mark: uint32(o.mark), ConnMark: uint32(o.ctmark),
		In: o.in,
	}
	if q.to.Addr().IsValid() {
		p.Destination = q.to.Addr()
	}
	if !q.inbound {
		q.makeOutbound(&p, own, addresses, path)
	} else if p.In == "" {
		p.In = defaultInterface
	}
	if q.from.Addr().IsValid() {
		p.Source = q.from.Addr()
	}
	if q.from.Port() != 0 {
		p.SourcePort = q.from.Port()
	}
	p.SourceType, p.DestinationType = addressType(p.Source, own, addresses), addressType(p.Destination, own, addresses)
	return p
}

// addressType returns the type of an address in the routing of the pod, whose own address
// own may be a substitute.
func addressType(a, own netip.Addr, addresses []netip.Prefix) string {
	if a == own || isLocal(a, addresses) {
		return "LOCAL"
	}
	return "UNICAST"
}

// defaultInterface is the usual name of a pod's interface.
const defaultInterface = "eth0"

func (q *question) makeOutbound(p *iptables.Packet, own netip.Addr, addresses []netip.Prefix, path *installed.Path) {
	p.Hook, p.Out, p.Source = iptables.Output, q.options.out, own
	local := isLocal(p.Destination, addresses)
	if local {
		// A connection to an address of the machine itself comes from that address.
		p.Source = p.Destination
	}
	switch {
	case p.Out != "":
	case local:
		p.Out = explain.Loopback
	default:
		p.Out = defaultInterface
	}
	p.Owner = &iptables.SocketOwner{UID: explain.OrdinaryID(path), GID: explain.OrdinaryID(path)}
	if q.uid != nil {
		p.Owner.UID = *q.uid
	}
	if q.gid != nil {
		p.Owner.GID = *q.gid
	}
}

// ownAddress returns the pod's address of a family, or a substitute if it has none.
func ownAddress(f iptables.Family, addresses []netip.Prefix, path *installed.Path) (a netip.Addr, has bool) {
	if own := path.Ownership.Reachable(f, addresses); len(own) > 0 {
		return own[0], true
	}
	return elsewhere(f).Next(), false
}

// assumed names the options for the parts of a packet that the question leaves open
// and that do not follow from it.
func (q *question) assumed(p *iptables.Packet, addresses []netip.Prefix, path *installed.Path) []string {
	local := !q.inbound && isLocal(p.Destination, addresses)
	_, known := ownAddress(p.Family(), addresses, path)
	var names []string
	for _, part := range []struct {
		open bool
		name string
	}{
		{!q.to.Addr().IsValid() && !known, "ADDRESS"},
		{!q.from.Addr().IsValid() && !local, "--from"},
		{q.from.Port() == 0 && (q.from.Addr().IsValid() || local), "port of --from"},
		{!q.inbound && q.uid == nil && !q.options.byProxy, "--uid"},
		{!q.inbound && q.gid == nil && !q.options.byProxy, "--gid"},
		{q.inbound && q.options.in == "", "--in-interface"},
		{!q.inbound && q.options.out == "" && !local, "--out-interface"},
	} {
		if part.open {
			names = append(names, part.name)
		}
	}
	return names
}

// isLocal reports whether an address is the machine's own.
func isLocal(a netip.Addr, addresses []netip.Prefix) bool {
	return a.IsLoopback() || isOneOf(a, addresses)
}

// isOneOf reports whether an address is one of an interface.
func isOneOf(a netip.Addr, addresses []netip.Prefix) bool {
	return slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}
