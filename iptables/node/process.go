package node

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/files"
)

// Process is a process in a pod's network namespace.
type Process struct {
	// PID is its number on the machine.
	PID int `json:"pid"`
	// Command is its name, which is its own to choose: see [iptables.Printable].
	Command string `json:"command"`
	// User and Group are those of the sockets that it opens, as the pod numbers them.
	User  uint32 `json:"user"`
	Group uint32 `json:"group"`
}

// Exempt are processes whose traffic the rules leave alone.
type Exempt struct {
	Processes []Process `json:"processes"`
	// More is how many there are besides.
	More int `json:"more"`
}

// maxExempt is how many processes are listed.
const maxExempt = 16

func (e *Exempt) add(p Process) {
	if len(e.Processes) == maxExempt {
		e.More++
		return
	}
	e.Processes = append(e.Processes, p)
}

// processFolder returns the folder of a process in procfs.
func (n *Node) processFolder(pid int) string {
	return filepath.Join(n.Processes, strconv.Itoa(pid))
}

// process reads what a process is. It is errGone if it has ended, or is in another network
// namespace by now.
func (n *Node) process(pid int, in identity, ids *host.IDMaps) (p Process, err error) {
	folder := n.processFolder(pid)
	command, err := os.ReadFile(filepath.Join(folder, "comm"))
	if err != nil {
		return p, files.Reason(err)
	}
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return p, files.Reason(err)
	}
	// Last, so that all of it is about the same process.
	if have, err := identify(n.processFile(pid)); err != nil || have != in {
		return p, cmp.Or(err, errGone)
	}
	p.PID, p.Command = pid, iptables.Printable(strings.TrimSuffix(string(command), "\n"))
	user, okUser := filesystemID(status, "Uid:")
	group, okGroup := filesystemID(status, "Gid:")
	if okUser && okGroup {
		p.User, okUser = ids.User(user)
		p.Group, okGroup = ids.Group(group)
	}
	if !okUser || !okGroup {
		return p, errUnknownIDs
	}
	return p, nil
}

var errUnknownIDs = errors.New("its user and group are not known")

// filesystemID returns the last of a process's users or groups in its status: rules compare with
// that one (net/netfilter/xt_owner.c).
func filesystemID(status []byte, line string) (id uint32, ok bool) {
	for text := range strings.Lines(string(status)) {
		if fields := strings.Fields(text); len(fields) == 5 && fields[0] == line {
			n, err := strconv.ParseUint(fields[4], 10, 32)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

// maxFiles is how many open files of a process are looked at. A proxy opens those at which it
// listens before it has connections.
const maxFiles = 4096

// holds returns which of these sockets a process has open, by their inodes.
func (n *Node) holds(pid int, inodes []uint64) ([]uint64, error) {
	folder := filepath.Join(n.processFolder(pid), "fd")
	dir, err := os.Open(folder)
	if err != nil {
		return nil, files.Reason(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxFiles)
	if err = files.IgnoreEnd(err); err != nil {
		return nil, files.Reason(err)
	}
	var held []uint64
	for _, name := range names {
		file, err := os.Readlink(filepath.Join(folder, name))
		if err != nil {
			// It has been closed.
			continue
		}
		var inode uint64
		if _, err := fmt.Sscanf(file, "socket:[%d]", &inode); err == nil && slices.Contains(inodes, inode) {
			held = append(held, inode)
		}
	}
	return held, nil
}
