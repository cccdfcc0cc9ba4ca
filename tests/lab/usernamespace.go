package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/vishvananda/netns"
)

// userNamespace is a user namespace whose ids differ outside. Methods of nil are for the
// machine's own.
type userNamespace struct {
	file *os.File
	// first is what user and group 0 are outside.
	first uint32
}

// mappedIDs is how many ids a user namespace of the lab has.
const mappedIDs = 1 << 16

// openWithIDs makes a user namespace, and in it the network namespace. It takes a process
// to make them; they last as long as they are open here.
func (n *Namespace) openWithIDs(first uint32) error {
	cmd := exec.Command("cat")
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(first), Size: mappedIDs}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		// Only when ids are mapped, so that files of /proc/net belong to the
		// pod's root (xt_proto_init in net/netfilter/x_tables.c).
		Unshareflags: syscall.CLONE_NEWNET,
		Credential:   &syscall.Credential{},
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err == nil {
		n.ids = &userNamespace{file, first}
		n.handle, err = netns.GetFromPid(cmd.Process.Pid)
	}
	return errors.Join(err, hold.Close(), cmd.Wait())
}

// outside returns an identity as it is outside.
func (u *userNamespace) outside(who Identity) Identity {
	if u == nil {
		return who
	}
	return Identity{UID: u.first + who.UID, GID: u.first + who.GID}
}

// command returns a program to run as root of the user namespace.
func (u *userNamespace) command(ctx context.Context, path string, args []string) *exec.Cmd {
	if u == nil {
		return exec.CommandContext(ctx, path, args...)
	}
	// The first of ExtraFiles is file 3; nsenter becomes user and group 0.
	cmd := exec.CommandContext(ctx, "nsenter", slices.Concat([]string{"--user=/proc/self/fd/3", "--", path}, args)...)
	cmd.ExtraFiles = []*os.File{u.file}
	return cmd
}

func (u *userNamespace) close() error {
	if u == nil {
		return nil
	}
	return u.file.Close()
}
