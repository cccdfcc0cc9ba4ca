package trace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// tunDevice makes TUN interfaces (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// interfaceName names the interface that packets come in by, unless the wanted name is
// free. The kernel numbers it, so that each of several traces has its own (dev_alloc_name
// in net/core/dev.c).
const interfaceName = "meshtables%d"

// injection is a TUN interface: packets written to it come in. It goes with its file.
type injection struct {
	fd int
	p  iptables.Packet
	// address is the wanted interface's, if it has one.
	address netip.Addr
}

func newInjection(ctx context.Context, ns *namespace.Namespace, p iptables.Packet) (*injection, error) {
	if p.Mark != 0 {
		return nil, errors.New("an incoming packet has no mark")
	}
	if p.SourcePort == 0 {
		p.SourcePort = ephemeralPort()
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, cannotInject(&fs.PathError{Op: "open", Path: tunDevice, Err: err})
	}
	i := &injection{fd: fd, p: p}
	err = i.standInFor(ctx, ns, p.In)
	if err == nil {
		err = i.bringUp(ctx, ns)
	}
	if err != nil {
		return nil, errors.Join(cannotInject(err), i.Close())
	}
	return i, nil
}

// ephemeralPort returns a port as the kernel gives it to clients (ip_local_port_range in
// Documentation/networking/ip-sysctl.rst), a different one each time: a packet from the
// same port again, while somebody answers, belongs to the existing connection.
func ephemeralPort() uint16 {
	const first, last = 32768, 60999
	return uint16(first + rand.IntN(last-first+1))
}

// standInFor takes another name than an existing interface, and its address. REDIRECT
// sends packets to an address of the interface that they came in by, and drops them if it
// has none (nf_nat_redirect_ipv4 in net/netfilter/nf_nat_redirect.c).
func (i *injection) standInFor(ctx context.Context, ns *namespace.Namespace, name string) error {
	link, err := rtnetlink.LinkByName(ctx, ns, name)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to look for interface %s: %w", name, err)
	}
	i.p.In = interfaceName
	addresses, err := rtnetlink.Addresses(ctx, ns, rtnetlink.FamilyOf(i.p.Destination))
	if err != nil {
		return fmt.Errorf("failed to list the addresses of interface %s: %w", name, err)
	}
	for _, a := range addresses {
		if a.Link == link.Index && a.Prefix.Addr().IsGlobalUnicast() {
			i.address = a.Prefix.Addr()
			break
		}
	}
	return nil
}

func cannotInject(err error) error {
	return fmt.Errorf("cannot inject a packet: %w\n"+
		"hint: run where %s exists, with CAP_NET_ADMIN, such as on the node with --network-namespace, or trace an outgoing packet", err, tunDevice)
}

func (i *injection) bringUp(ctx context.Context, ns *namespace.Namespace) error {
	err := i.makeInterface()
	if errors.Is(err, unix.EBUSY) && i.p.In != interfaceName {
		// Another trace has made it just now.
		i.p.In = interfaceName
		err = i.makeInterface()
	}
	if err != nil {
		return fmt.Errorf("failed to make interface %s: %w", i.p.In, err)
	}
	link, err := rtnetlink.LinkByName(ctx, ns, i.p.In)
	if err == nil && i.address.IsValid() {
		// Nobody else is on this link, so nobody else has the address.
		err = rtnetlink.AddAddress(ctx, ns, rtnetlink.Address{
			Link: link.Index, Prefix: netip.PrefixFrom(i.address, i.address.BitLen()), Flags: unix.IFA_F_NODAD,
		})
	}
	if err == nil {
		err = rtnetlink.SetUp(ctx, ns, link.Index)
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

// Close removes the interface.
func (i *injection) Close() error {
	if i.fd < 0 {
		return nil
	}
	fd := i.fd
	i.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}
