package lab

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Tap records the traffic of an interface, in both directions, as packet(7) shows it:
// whole frames, as large as segmentation offload makes them.
type Tap struct{ fd int }

// tapBuffer is far more than the traffic of one test. The kernel counts frames that did
// not fit; Stop reports them.
const tapBuffer = 16 << 20

// Tap begins to listen to an interface. The caller stops it.
func (n *Namespace) Tap(interfaceName string) (*Tap, error) {
	tap := &Tap{fd: -1}
	err := n.Do(func() error {
		link, err := net.InterfaceByName(interfaceName)
		if err != nil {
			return err
		}
		// With protocol 0 it hears nothing, also from other interfaces, until it is bound
		// to one.
		if tap.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(tap.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer); err != nil {
			return err
		}
		const all = uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // in network order
		return unix.Bind(tap.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
	})
	if err != nil {
		tap.close()
		return nil, fmt.Errorf("failed to tap %s in %s: %w", interfaceName, n.name, err)
	}
	return tap, nil
}

// Stop returns the frames that have passed so far, in order, and ends the tap. It
// fails if any was lost.
func (t *Tap) Stop() ([][]byte, error) {
	defer t.close()
	var frames [][]byte
	frame := make([]byte, 128<<10)
	for {
		size, _, err := unix.Recvfrom(t.fd, frame, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read from a tap: %w", err)
		}
		frames = append(frames, append([]byte(nil), frame[:size]...))
	}
	stats, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, fmt.Errorf("failed to read a tap's statistics: %w", err)
	}
	if stats.Drops > 0 {
		return nil, fmt.Errorf("the tap lost %d frames", stats.Drops)
	}
	return frames, nil
}

func (t *Tap) close() {
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
	}
	t.fd = -1
}
