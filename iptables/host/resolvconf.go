package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// resolvConf is the file that lists a resolver's name servers (resolv.conf(5)).
const resolvConf = "/etc/resolv.conf"

// ResolvConf returns the file from which this process has its name servers.
func ResolvConf() File { return File{Path: resolvConf} }

// ResolvConfOf returns the file from which a process has its name servers.
func ResolvConfOf(pid int) File { return resolvConfOf(fmt.Sprintf("/proc/%d", pid)) }

func resolvConfOf(process string) File { return File{Root: process + "/root", Path: resolvConf} }

func nameServers(f File) ([]netip.Addr, error) {
	text, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the name servers: %w", err)
	}
	return parseResolvConf(string(text)), nil
}

// parseResolvConf returns the addresses of the "nameserver" lines, each once.
//
// It finds every server that any resolver would query. Resolvers differ: glibc and
// musl want the keyword at the start of the line and use three servers, Go's accepts
// blanks before it, c-ares uses all servers. It skips the lines that all of them
// skip.
func parseResolvConf(text string) []netip.Addr {
	var servers []netip.Addr
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue
		}
		// Queries to an IPv4-mapped address leave as IPv4. A zone names an
		// interface; the address in the packet has none.
		addr = addr.Unmap().WithZone("")
		if !slices.Contains(servers, addr) {
			servers = append(servers, addr)
		}
	}
	return servers
}

// FindResolvConf returns the file with the name servers of another process in a network
// namespace. ok is false if no such process has one.
func FindResolvConf(ns *namespace.Namespace) (f File, ok bool) {
	for p := range OtherProcesses(ns) {
		f := resolvConfOf(p)
		if found, err := f.find(); err == nil {
			found.Close()
			return f, true
		}
	}
	return File{}, false
}
