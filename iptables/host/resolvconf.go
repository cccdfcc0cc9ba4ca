package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// ResolvConf is the file that lists a resolver's name servers (resolv.conf(5)).
const ResolvConf = "/etc/resolv.conf"

func nameServers(path string) ([]netip.Addr, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the name servers: %w", err)
	}
	defer f.Close()
	servers, err := parseResolvConf(f)
	if err != nil {
		return nil, fmt.Errorf("failed to read the name servers of %s: %w", path, err)
	}
	return servers, nil
}

// parseResolvConf returns the addresses of the "nameserver" lines, each once.
//
// It finds every server that any resolver would query. Resolvers differ: glibc and
// musl want the keyword at the start of the line and use three servers, Go's accepts
// blanks before it, c-ares uses all servers. It skips the lines that all of them
// skip.
func parseResolvConf(r io.Reader) ([]netip.Addr, error) {
	var servers []netip.Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
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
	return servers, lines.Err()
}

// FindResolvConf returns the path in procfs of [ResolvConf] as another process in the
// network namespace sees it. ok is false if no such process has one.
func FindResolvConf(ns *namespace.Namespace) (path string, ok bool) {
	file, err := ns.File()
	if err != nil {
		return "", false
	}
	here, err := file.Stat()
	if err != nil {
		return "", false
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return "", false
	}
	for _, p := range processes {
		there, err := os.Stat(p + "/ns/net")
		if err != nil || !os.SameFile(here, there) || p == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		if _, err := os.Stat(p + "/root" + ResolvConf); err == nil {
			return p + "/root" + ResolvConf, true
		}
	}
	return "", false
}
