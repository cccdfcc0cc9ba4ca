package iptables

import (
	"fmt"
	"strconv"
)

// SetMark clears the bits of Mask in the packet's mark, then flips those of Value.
type SetMark struct {
	Value, Mask uint32
}

func (t SetMark) appendSave(words []string) []string {
	return append(words, "-j", "MARK", "--set-xmark", fmt.Sprintf("%#x/%#x", t.Value, t.Mask))
}

// Alter sets the packet's mark.
func (t SetMark) Alter(p *Packet) { p.Mark = p.Mark&^t.Mask ^ t.Value }

// SetConnmark is [SetMark] for the mark of the packet's connection.
type SetConnmark struct {
	Value, Mask uint32
}

func (t SetConnmark) appendSave(words []string) []string {
	return append(words, "-j", "CONNMARK", "--set-xmark", fmt.Sprintf("%#x/%#x", t.Value, t.Mask))
}

// Alter sets the mark of the packet's connection, if it has one.
func (t SetConnmark) Alter(p *Packet) {
	if p.HasConnection() {
		p.ConnMark = p.ConnMark&^t.Mask ^ t.Value
	}
}

// SaveMark copies the packet's mark to its connection, each through its mask.
type SaveMark struct {
	PacketMask, ConnectionMask uint32
}

func (t SaveMark) appendSave(words []string) []string {
	return appendCopyMark(words, "--save-mark", t.PacketMask, t.ConnectionMask)
}

// Alter sets the mark of the packet's connection, if it has one (connmark_tg_shift in
// net/netfilter/xt_connmark.c).
func (t SaveMark) Alter(p *Packet) {
	if p.HasConnection() {
		p.ConnMark = p.ConnMark&^t.ConnectionMask ^ p.Mark&t.PacketMask
	}
}

// RestoreMark copies the connection's mark to the packet, each through its mask.
type RestoreMark struct {
	PacketMask, ConnectionMask uint32
}

func (t RestoreMark) appendSave(words []string) []string {
	return appendCopyMark(words, "--restore-mark", t.PacketMask, t.ConnectionMask)
}

// Alter sets the packet's mark, if it has a connection.
func (t RestoreMark) Alter(p *Packet) {
	if p.HasConnection() {
		p.Mark = p.Mark&^t.PacketMask ^ p.ConnMark&t.ConnectionMask
	}
}

func appendCopyMark(words []string, direction string, packetMask, connectionMask uint32) []string {
	return append(words, "-j", "CONNMARK", direction,
		"--nfmask", fmt.Sprintf("%#x", packetMask), "--ctmask", fmt.Sprintf("%#x", connectionMask))
}

func parseSetMark(args []arg) Target {
	if value, mask, ok := parseSetXmark(args); ok {
		return SetMark{value, mask}
	}
	return nil
}

// parseConnmarkTarget reads "--set-xmark V/M", or what parseCopyMark reads.
func parseConnmarkTarget(words []string) Target {
	if args, ok := splitArgs(words); ok {
		if value, mask, ok := parseSetXmark(args); ok {
			return SetConnmark{value, mask}
		}
	}
	return parseCopyMark(words)
}

func parseSetXmark(args []arg) (value, mask uint32, ok bool) {
	if len(args) != 1 || args[0].name != "--set-xmark" {
		return 0, 0, false
	}
	return parseMaskedMark(args[0].value)
}

// parseCopyMark reads "--save-mark --nfmask M --ctmask M" and the same with --restore-mark.
func parseCopyMark(words []string) Target {
	if len(words) != 5 || words[1] != "--nfmask" || words[3] != "--ctmask" {
		return nil
	}
	packet, err1 := strconv.ParseUint(words[2], 0, 32)
	connection, err2 := strconv.ParseUint(words[4], 0, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	switch words[0] {
	case "--save-mark":
		return SaveMark{uint32(packet), uint32(connection)}
	case "--restore-mark":
		return RestoreMark{uint32(packet), uint32(connection)}
	}
	return nil
}
