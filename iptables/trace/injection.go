package trace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/explain"
)

// tunDevice makes TUN interfaces (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// interfaceName is that of the interface that packets come in by, unless the one
// that is asked for is free.
const interfaceName = "meshtables0"

// injection is a TUN interface, to which what is written comes in. It goes with
// its file.
type injection struct {
	fd int
	p  explain.Packet
}

func newInjection(p explain.Packet) (*injection, error) {
	if p.Mark != 0 {
		return nil, errors.New("a packet that comes in has no mark")
	}
	if p.SourcePort == 0 {
		p.SourcePort = ephemeralPort
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, cannotInject(&fs.PathError{Op: "open", Path: tunDevice, Err: err})
	}
	i := &injection{fd: fd, p: p}
	if _, err := netlink.LinkByName(p.In); err == nil {
		i.p.In = interfaceName
	}
	if err := i.bringUp(); err != nil {
		return nil, errors.Join(cannotInject(err), i.Close())
	}
	return i, nil
}

// ephemeralPort is one as the kernel gives it to who connects.
const ephemeralPort = 40000

func cannotInject(err error) error {
	return fmt.Errorf("cannot make a packet come in: %w\n"+
		"hint: run where %s is, with CAP_NET_ADMIN, such as on the node with --network-namespace, or trace one that goes out", err, tunDevice)
}

func (i *injection) bringUp() error {
	request, err := unix.NewIfreq(i.p.In)
	if err != nil {
		return fmt.Errorf("interface %s: %w", i.p.In, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(i.fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("failed to make interface %s: %w", i.p.In, err)
	}
	link, err := netlink.LinkByName(i.p.In)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("failed to bring up interface %s: %w", i.p.In, err)
	}
	return nil
}

func (i *injection) packet() explain.Packet { return i.p }

func (i *injection) send() error {
	packet, err := encode(i.p)
	if err != nil {
		return err
	}
	_, err = unix.Write(i.fd, packet)
	return os.NewSyscallError("write", err)
}

// Close takes the interface away.
func (i *injection) Close() error {
	if i.fd < 0 {
		return nil
	}
	fd := i.fd
	i.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}
