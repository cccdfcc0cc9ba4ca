package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// neededExtension is an xt match or target that a rule takes.
type neededExtension struct {
	family   iptables.Family
	name     string
	revision uint32
	target   bool
}

func (x neededExtension) String() string {
	kind := "match"
	if x.target {
		kind = "target"
	}
	return fmt.Sprintf("%s %s (revision %d)", kind, x.name, x.revision)
}

// module is the one that has the extension.
func (x neededExtension) module() string {
	switch x.name {
	case "tcp", "udp":
		return "xt_tcpudp"
	case "MARK", "CONNMARK":
		return "xt_" + strings.ToLower(x.name)
	}
	return "xt_" + x.name
}

// extensionsOf returns what a rule takes of xtables.
func extensionsOf(family iptables.Family, r *iptables.Rule) []neededExtension {
	var list []neededExtension
	for _, m := range r.Matches {
		if x, err := encodeMatch(m); err == nil {
			list = append(list, neededExtension{family, x.name, x.revision, false})
		}
	}
	if r.Target != nil {
		if x, err := encodeTarget(family, r.Target); err == nil {
			list = append(list, neededExtension{family, x.name, x.revision, true})
		}
	}
	return list
}

// Available returns nil if the kernel, as it is seen from the calling thread's
// network namespace, can hold the rules: if it lets us use nf_tables and
// nft_compat and has every xt match and target that they take. Otherwise the
// error is the reason.
//
// For the native form it has the kernel check the rules without taking them; see
// netlink.Conn.Check. For the other it only asks (NFNL_MSG_COMPAT_GET, linux/netfilter/nf_tables_compat.h), and
// makes no table, chain or rule. The kernel may load the modules that it is asked
// about.
func (b *Backend) Available(ctx context.Context, rs iptables.Ruleset) error {
	if b.native {
		return b.nativeAvailable(rs)
	}
	return b.connected(func(c *netlink.Conn) error {
		if _, err := c.Generation(); err != nil {
			return err
		}
		var missing []neededExtension
		for _, x := range needed(rs) {
			if err := ctx.Err(); err != nil {
				return err
			}
			ok, err := x.isThere(c)
			if err != nil {
				return err
			}
			if !ok {
				missing = append(missing, x)
			}
		}
		if len(missing) > 0 {
			return kernelError(&netlink.Refusal{Purpose: netlink.Purpose("find all matches and targets"), Errno: unix.ENOENT}, missing)
		}
		return nil
	})
}

// Exists returns nil if the kernel has nf_tables, as far as the calling thread's
// network namespace can see.
func (b *Backend) Exists() error {
	return b.connected(func(c *netlink.Conn) error {
		_, err := c.Generation()
		return err
	})
}

func needed(rs iptables.Ruleset) []neededExtension {
	var list []neededExtension
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for i := range c.Rules {
				for _, x := range extensionsOf(t.Family, &c.Rules[i]) {
					if !slices.Contains(list, x) {
						list = append(list, x)
					}
				}
			}
		}
	}
	return list
}

// compatGet is NFNL_MSG_COMPAT_GET, which is 0, of the subsystem nft_compat.
const compatGet = unix.NFNL_SUBSYS_NFT_COMPAT << 8

// isThere asks nft_compat for the best revision of the extension. The error is for
// everything but its answer yes or no.
func (x neededExtension) isThere(c *netlink.Conn) (bool, error) {
	_, err := c.Ask(netlink.Request{
		Kind: compatGet, Family: familyNumber(x.family), Purpose: netlink.Purpose("ask nft_compat for " + x.String()),
		Attributes: func(b *netlink.Builder) {
			b.PutString(unix.NFTA_COMPAT_NAME, x.name)
			b.PutUint32(unix.NFTA_COMPAT_REV, x.revision)
			target := uint32(0)
			if x.target {
				target = 1
			}
			b.PutUint32(unix.NFTA_COMPAT_TYPE, target)
		},
	})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		// EINVAL is nfnetlink's answer where nft_compat itself is missing.
		return false, nil
	}
	return false, err
}
