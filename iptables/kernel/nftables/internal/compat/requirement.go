package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Requirement is an xt match or target that a rule needs.
type Requirement struct {
	family   iptables.Family
	name     string
	revision uint32
	target   bool
}

// String returns text such as "match owner (revision 1)".
func (x Requirement) String() string {
	kind := "match"
	if x.target {
		kind = "target"
	}
	return fmt.Sprintf("%s %s (revision %d)", kind, x.name, x.revision)
}

// Module returns the kernel module with the extension.
func (x Requirement) Module() string {
	switch x.name {
	case "tcp", "udp":
		return "xt_tcpudp"
	case "MARK", "CONNMARK":
		return "xt_" + strings.ToLower(x.name)
	}
	return "xt_" + x.name
}

// RequirementsOf returns the extensions of xtables that a rule needs.
func RequirementsOf(family iptables.Family, r *iptables.Rule) []Requirement {
	var list []Requirement
	for _, m := range r.Matches {
		if x, err := encodeMatch(m); err == nil {
			list = append(list, Requirement{family, x.name, x.revision, false})
		}
	}
	switch r.Target.(type) {
	case nil, iptables.Verdict, iptables.Jump, iptables.Goto:
	default:
		if x, err := encodeTarget(family, r.Target); err == nil {
			list = append(list, Requirement{family, x.name, x.revision, true})
		}
	}
	return list
}

// Requirements returns the extensions of xtables that the rules need, each once.
func Requirements(rs iptables.Ruleset) []Requirement {
	var list []Requirement
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for i := range c.Rules {
				for _, x := range RequirementsOf(t.Family, &c.Rules[i]) {
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

// Missing returns those of the extensions that the kernel does not have in their revisions. It
// asks nft_compat for all at once. It returns an error if an answer is neither yes nor no.
func Missing(ctx context.Context, c *netlink.Conn, all []Requirement) (missing []Requirement, err error) {
	requests := make([]netlink.Request, len(all))
	for i, x := range all {
		requests[i] = x.request()
	}
	refusals, err := c.AskAll(ctx, requests)
	if err != nil {
		return nil, err
	}
	for i, err := range refusals {
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
			// EINVAL is nfnetlink's answer if nft_compat itself is missing.
			missing = append(missing, all[i])
		default:
			return nil, err
		}
	}
	return missing, nil
}

func (x Requirement) request() netlink.Request {
	return netlink.Request{
		Kind: compatGet, Family: tables.Number(x.family), Purpose: netlink.Purpose("ask nft_compat for " + x.String()),
		Attributes: func(b *netlink.Builder) {
			b.PutString(unix.NFTA_COMPAT_NAME, x.name)
			b.PutUint32(unix.NFTA_COMPAT_REV, x.revision)
			target := uint32(0)
			if x.target {
				target = 1
			}
			b.PutUint32(unix.NFTA_COMPAT_TYPE, target)
		},
	}
}
