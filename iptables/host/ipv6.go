package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// ErrNoIPv6 is wrapped by the errors of [CheckIPv6].
var ErrNoIPv6 = errors.New("no IPv6")

// CheckIPv6 returns nil if a network namespace can have IPv6 addresses on its
// loopback interface, which capturing IPv6 needs. If not, the error wraps
// [ErrNoIPv6] and says why.
func CheckIPv6(ns *namespace.Namespace) error { return ns.Do(checkIPv6) }

func checkIPv6() error {
	// The file does not exist without the module, or with ipv6.disable=1 on
	// the kernel's command line (Documentation/networking/ipv6.rst).
	if _, err := os.Stat("/proc/thread-self/net/if_inet6"); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the kernel was built or started without it\n"+
			"hint: use --ipv6=off, or --ipv6=auto, which captures IPv6 only where it exists", ErrNoIPv6)
	} else if err != nil {
		return fmt.Errorf("failed to check for IPv6: %w", err)
	}
	const knob = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
	disabled, err := os.ReadFile(knob)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("failed to check for IPv6: %w", err)
	}
	if strings.TrimSpace(string(disabled)) == "1" {
		return fmt.Errorf("%w: it is disabled on the loopback interface\n"+
			"hint: set the sysctl net.ipv6.conf.lo.disable_ipv6 to 0, or use --ipv6=off or --ipv6=auto", ErrNoIPv6)
	}
	return nil
}
