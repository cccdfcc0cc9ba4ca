package trace

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// tunDevice makes TUN interfaces (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// interfaceName has the kernel number the interface that packets come in by, so that
// traces at once have one each (dev_alloc_name in net/core/dev.c). The interface has the
// name that is asked for where that is free.
const interfaceName = "meshtables%d"

// injection is a TUN interface, to which what is written comes in. It goes with
// its file.
type injection struct {
	fd int
	p  iptables.Packet
	// address is that of the interface that was asked for, if it has one.
	address *net.IPNet
}

func newInjection(p iptables.Packet) (*injection, error) {
	if p.Mark != 0 {
		return nil, errors.New("a packet that comes in has no mark")
	}
	if p.SourcePort == 0 {
		p.SourcePort = ephemeralPort()
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, cannotInject(&fs.PathError{Op: "open", Path: tunDevice, Err: err})
	}
	i := &injection{fd: fd, p: p}
	err = i.standInFor(p.In)
	if err == nil {
		err = i.bringUp()
	}
	if err != nil {
		return nil, errors.Join(cannotInject(err), i.Close())
	}
	return i, nil
}

// ephemeralPort is one as the kernel gives it to who connects (ip_local_port_range in
// Documentation/networking/ip-sysctl.rst), another each time: what is sent from the
// same one again while somebody answers is of a connection that there is already.
func ephemeralPort() uint16 {
	const first, last = 32768, 60999
	return uint16(first + rand.IntN(last-first+1))
}

// standInFor takes another name than an interface that exists, and its address.
// REDIRECT sends what comes in to an address of the interface that it came in by, and
// drops it where there is none (nf_nat_redirect_ipv4 in net/netfilter/nf_nat_redirect.c).
func (i *injection) standInFor(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to look for interface %s: %w", name, err)
	}
	i.p.In = interfaceName
	family := netlink.FAMILY_V4
	if i.p.Family() == iptables.IPv6 {
		family = netlink.FAMILY_V6
	}
	addresses, err := netlink.AddrList(link, family)
	if err != nil {
		return fmt.Errorf("failed to list the addresses of interface %s: %w", name, err)
	}
	for _, a := range addresses {
		if a.IP.IsGlobalUnicast() {
			bits := 8 * len(a.IP)
			i.address = &net.IPNet{IP: a.IP, Mask: net.CIDRMask(bits, bits)}
			break
		}
	}
	return nil
}

func cannotInject(err error) error {
	return fmt.Errorf("cannot make a packet come in: %w\n"+
		"hint: run where %s is, with CAP_NET_ADMIN, such as on the node with --network-namespace, or trace one that goes out", err, tunDevice)
}

func (i *injection) bringUp() error {
	err := i.makeInterface()
	if errors.Is(err, unix.EBUSY) && i.p.In != interfaceName {
		// Another trace has made it just now.
		i.p.In = interfaceName
		err = i.makeInterface()
	}
	if err != nil {
		return fmt.Errorf("failed to make interface %s: %w", i.p.In, err)
	}
	link, err := netlink.LinkByName(i.p.In)
	if err == nil && i.address != nil {
		// Nobody else has it on a link that nobody else is on.
		err = netlink.AddrAdd(link, &netlink.Addr{IPNet: i.address, Flags: unix.IFA_F_NODAD})
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("failed to bring up interface %s: %w", i.p.In, err)
	}
	return nil
}

func (i *injection) makeInterface() error {
	request, err := unix.NewIfreq(i.p.In)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(i.fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	i.p.In = request.Name()
	return nil
}

func (i *injection) packet() iptables.Packet { return i.p }

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
