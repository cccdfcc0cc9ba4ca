package e2e

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// zone are the names that a name server knows, with a dot at their end.
type zone map[string]netip.Addr

// Of a message's second word (RFC 1035, 4.1.1).
const (
	dnsResponse  = 1 << 15
	dnsAvailable = 1 << 7 // recursion
	dnsNoName    = 3
)

// answer returns the response to a query for an IPv4 address, nil if the query is
// nothing that a resolver would send.
func (z zone) answer(query []byte) []byte {
	const header = 12
	name, end, ok := dnsName(query, header)
	if !ok || end+4 > len(query) {
		return nil
	}
	question := query[header : end+4]
	addr, known := z[name]

	flags, answers := uint16(dnsResponse|dnsAvailable), uint16(1)
	if !known {
		flags, answers = flags|dnsNoName, 0
	}
	response := append([]byte(nil), query[:2]...) // the number of the query
	for _, word := range []uint16{flags, 1, answers, 0, 0} {
		response = binary.BigEndian.AppendUint16(response, word)
	}
	response = append(response, question...)
	if !known {
		return response
	}
	// The name is that at the header's end (4.1.4), then the type A, the class,
	// how long it may be kept, in seconds, and the address (4.1.3).
	for _, word := range []uint16{0xc000 | header, 1, 1, 0, 1, 4} {
		response = binary.BigEndian.AppendUint16(response, word)
	}
	return append(response, addr.AsSlice()...)
}

// dnsName reads the name at an offset of a query, where none is compressed, and
// returns the offset behind it.
func dnsName(query []byte, at int) (name string, end int, ok bool) {
	var b strings.Builder
	for at < len(query) {
		length := int(query[at])
		at++
		if length == 0 {
			return b.String(), at, true
		}
		if length > 63 || at+length > len(query) {
			break
		}
		b.Write(query[at : at+length])
		b.WriteByte('.')
		at += length
	}
	return "", 0, false
}
