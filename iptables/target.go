package iptables

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Target is what a rule does to a packet that it matches ("-j"). The
// implementations are the types of this file; a type switch over them is
// complete if it also has a default that fails.
type Target interface {
	// appendSave adds the target as iptables-save prints it, "-j" included.
	appendSave(words []string) []string
}

// Verdict is one of the targets that need no module: Accept, Drop, Return.
type Verdict string

// The verdicts. Accept ends the walk through the table, Drop discards the
// packet, Return goes back to the calling chain, or to the policy of a built-in
// chain.
const (
	Accept Verdict = "ACCEPT"
	Drop   Verdict = "DROP"
	Return Verdict = "RETURN"
)

func (t Verdict) appendSave(words []string) []string { return append(words, "-j", string(t)) }

// Jump continues in another chain and comes back at its end.
type Jump struct {
	Chain string
}

func (t Jump) appendSave(words []string) []string { return append(words, "-j", t.Chain) }

// Goto continues in another chain and does not come back.
type Goto struct {
	Chain string
}

func (t Goto) appendSave(words []string) []string { return append(words, "-g", t.Chain) }

// Redirect sends the connection to a port of the machine itself: in PREROUTING
// on the address of the interface it came in by, in OUTPUT on loopback. Zero
// Ports keep the port.
type Redirect struct {
	Ports PortRange
}

func (t Redirect) appendSave(words []string) []string {
	words = append(words, "-j", "REDIRECT")
	if t.Ports == (PortRange{}) {
		return words
	}
	ports := strconv.Itoa(int(t.Ports.First))
	if t.Ports.First != t.Ports.Last {
		ports += "-" + strconv.Itoa(int(t.Ports.Last))
	}
	return append(words, "--to-ports", ports)
}

// TProxy hands the packet to a local socket without changing its addresses and
// sets the bits of Mask in the packet's mark to Mark, by which routing delivers
// it locally (Documentation/networking/tproxy.rst). An unspecified IP stands for
// the address of the interface that the packet came in by.
type TProxy struct {
	Port       uint16
	IP         netip.Addr
	Mark, Mask uint32
}

func (t TProxy) appendSave(words []string) []string {
	return append(words, "-j", "TPROXY",
		"--on-port", strconv.Itoa(int(t.Port)), "--on-ip", t.IP.String(),
		"--tproxy-mark", fmt.Sprintf("%#x/%#x", t.Mark, t.Mask))
}

// SetMark clears the bits of Mask in the packet's mark, then toggles those of
// Value.
type SetMark struct {
	Value, Mask uint32
}

func (t SetMark) appendSave(words []string) []string {
	return append(words, "-j", "MARK", "--set-xmark", fmt.Sprintf("%#x/%#x", t.Value, t.Mask))
}

// SaveMark copies the packet's mark to its connection, each seen through its
// mask.
type SaveMark struct {
	PacketMask, ConnectionMask uint32
}

func (t SaveMark) appendSave(words []string) []string {
	return appendCopyMark(words, "--save-mark", t.PacketMask, t.ConnectionMask)
}

// RestoreMark copies the connection's mark to the packet, each seen through its
// mask.
type RestoreMark struct {
	PacketMask, ConnectionMask uint32
}

func (t RestoreMark) appendSave(words []string) []string {
	return appendCopyMark(words, "--restore-mark", t.PacketMask, t.ConnectionMask)
}

func appendCopyMark(words []string, direction string, packetMask, connectionMask uint32) []string {
	return append(words, "-j", "CONNMARK", direction,
		"--nfmask", fmt.Sprintf("%#x", packetMask), "--ctmask", fmt.Sprintf("%#x", connectionMask))
}

// CTZone assigns the packet to a conntrack zone: connections that differ only in
// their zone are tracked apart.
type CTZone struct {
	Zone uint16
}

func (t CTZone) appendSave(words []string) []string {
	return append(words, "-j", "CT", "--zone", strconv.Itoa(int(t.Zone)))
}

// UnknownTarget is a target that this package has no type for. It appears only in
// rules that were read. Of text, see [ParseSave], the words are kept as they stood,
// quotes included, so that they can be printed again.
type UnknownTarget struct {
	Name string
	Args []string
}

// OnlyTells reports whether the target leaves packets alone and only tells somebody of
// them (iptables-extensions(8)).
func (t UnknownTarget) OnlyTells() bool {
	switch t.Name {
	case "LOG", "NFLOG", "TRACE", "AUDIT":
		return true
	}
	return false
}

func (t UnknownTarget) appendSave(words []string) []string {
	return append(append(words, "-j", t.Name), t.Args...)
}
