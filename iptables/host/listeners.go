package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Listeners are the sockets of a network namespace that take connections or datagrams.
type Listeners struct {
	sockets map[iptables.Protocol][]Socket
}

// Socket is a listening socket.
type Socket struct {
	Local netip.AddrPort
	// UID is the user that it belongs to, by the number that this process's user namespace
	// has for it.
	UID uint32
	// Inode tells it among the files of processes (/proc/PID/fd in proc(5)).
	Inode uint64
}

// States of sockets (include/net/tcp_states.h). A UDP socket that is not connected has the
// one of a closed TCP socket.
const (
	stateListen = "0A"
	stateClosed = "07"
)

// ReadListeners reads the listening sockets of a network namespace from procfs
// (Documentation/networking/proc_net_tcp.rst).
func ReadListeners(ns *namespace.Namespace) (Listeners, error) {
	l := Listeners{make(map[iptables.Protocol][]Socket)}
	for _, file := range []struct {
		protocol    iptables.Protocol
		name, state string
		needed      bool
	}{
		{iptables.TCP, "tcp", stateListen, true}, {iptables.TCP, "tcp6", stateListen, false},
		{iptables.UDP, "udp", stateClosed, true}, {iptables.UDP, "udp6", stateClosed, false},
	} {
		text, err := ns.ReadFile("/proc/thread-self/net/" + file.name)
		if err != nil && file.needed {
			return Listeners{}, fmt.Errorf("failed to list the listening sockets: %w", err)
		}
		l.sockets[file.protocol] = append(l.sockets[file.protocol], parseSockets(text, file.state)...)
	}
	return l, nil
}

// parseSockets returns the sockets in a state.
func parseSockets(text []byte, state string) []Socket {
	var all []Socket
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != state {
			continue
		}
		local, ok := parseSocket(fields[1])
		uid, uidErr := strconv.ParseUint(fields[7], 10, 32)
		inode, inodeErr := strconv.ParseUint(fields[9], 10, 64)
		if ok && uidErr == nil && inodeErr == nil {
			all = append(all, Socket{local, uint32(uid), inode})
		}
	}
	return all
}

// parseSocket reads "0100007F:1F90": the address as 32-bit words in the byte order of the
// machine, and the port.
func parseSocket(text string) (a netip.AddrPort, ok bool) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(b)%4 != 0 {
		return a, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(n)), ok
}

// Has reports whether a socket takes what comes to a port of an address. A socket of every
// IPv6 address counts for IPv4 too: procfs does not say whether it is for IPv6 only.
func (l Listeners) Has(p iptables.Protocol, to netip.AddrPort) bool {
	return l.hasAt(p, to.Port(), func(a netip.Addr) bool {
		return a == to.Addr() || a.IsUnspecified() && (a.Is6() || to.Addr().Is4())
	})
}

// HasPort reports whether a socket takes what comes to a port of any address of a family.
func (l Listeners) HasPort(p iptables.Protocol, f iptables.Family, port uint16) bool {
	return l.hasAt(p, port, func(a netip.Addr) bool { return iptables.FamilyOf(a) == f || a.IsUnspecified() && a.Is6() })
}

func (l Listeners) hasAt(p iptables.Protocol, port uint16, isMeant func(netip.Addr) bool) bool {
	return slices.ContainsFunc(l.At(p, port), func(s Socket) bool { return isMeant(s.Local.Addr().Unmap()) })
}

// At returns the sockets at a port, whatever their addresses.
func (l Listeners) At(p iptables.Protocol, port uint16) []Socket {
	var all []Socket
	for _, s := range l.sockets[p] {
		if s.Local.Port() == port {
			all = append(all, s)
		}
	}
	return all
}
