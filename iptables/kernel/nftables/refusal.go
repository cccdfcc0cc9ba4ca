package nftables

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// described explains an error: for a refused request it returns an *[Error], with what
// the kernel lacks for it.
func described(ctx context.Context, c *netlink.Conn, err error) error {
	var refusal *netlink.Refusal
	var tooLarge *netlink.TooLargeError
	var already *Error
	switch {
	case errors.As(err, &already):
		return err
	case errors.As(err, &refusal):
		return kernelError(refusal, missing(ctx, c, refusal))
	case errors.As(err, &tooLarge):
		return &tooLargeError{tooLarge}
	}
	return err
}

// missing asks which extensions of a refused rule the kernel lacks: its refusal names
// none. The native form needs none.
func missing(ctx context.Context, c *netlink.Conn, refusal *netlink.Refusal) []compat.Requirement {
	o, ok := refusal.Purpose.(tables.Operation)
	if !ok || o.Rule == nil || o.Family == tables.Inet {
		return nil
	}
	switch refusal.Errno {
	case unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT:
	default:
		return nil
	}
	// Without an answer there is nothing to add to the refusal.
	missing, _ := compat.Missing(ctx, c, compat.RequirementsOf(o.Family, o.Rule))
	return missing
}

// kernelError is the only place that interprets an errno. missing are the extensions of
// the operation's rule that the kernel lacks.
func kernelError(refusal *netlink.Refusal, missing []compat.Requirement) *Error {
	errno := refusal.Errno
	e := &Error{Operation: refusal.Purpose.String(), Errno: errno, Kernel: refusal.Explanation}
	o, _ := refusal.Purpose.(tables.Operation)
	if o.Rule != nil {
		e.Rule = o.Rule.String()
	}
	switch {
	case errno == unix.EPERM || errno == unix.EACCES:
		e.meaning = "the capability NET_ADMIN is missing in the user namespace that owns the network namespace"
		e.Hint = "run with the capability NET_ADMIN"
	case len(missing) > 0:
		e.Kind = ErrMissing
		e.meaning, e.Hint = lacks(missing)
	case refusal.Purpose == netlink.AskGeneration && errno == unix.EINVAL:
		// nfnetlink answers EINVAL for a missing subsystem (nfnetlink_rcv_msg in
		// net/netfilter/nfnetlink.c).
		e.Kind = ErrMissing
		e.meaning = "the kernel has no nf_tables"
		e.Hint = "load the module nf_tables, or use --backend=iptables-legacy"
	case errno == unix.ENOENT || errno == unix.EOPNOTSUPP:
		e.Kind = ErrMissing
		e.meaning = "the kernel lacks a part of nf_tables that this needs"
		e.Hint = "load the modules nft_compat and nft_chain_nat, or use --backend=nftables, which needs no xt modules"
		if o.Name != "" && o.Family == tables.Inet {
			e.Hint = "load the modules " + strings.Join(native.Modules(o.Rule), ", ") + ", or use another --backend"
		}
	case o.Rule != nil && errno == unix.EINVAL && hasOwner(o.Rule):
		// owner_check in net/netfilter/xt_owner.c.
		e.meaning = "the match owner takes only ids mapped in the user namespace, and only in the one that owns the network namespace"
		e.Hint = "use ids in the uid_map and gid_map of the user namespace; from outside of it, use --backend=nftables"
	case errno == unix.EBUSY && o.Chain != "":
		e.meaning = "something other than a plain jump still refers to the chain"
		e.Hint = "see it with nft list ruleset"
	case errno == unix.ENOMEM || errno == unix.ENOBUFS:
		e.meaning = "the kernel has no memory for the transaction"
	}
	return e
}

// lacks returns which extensions are missing, and what helps.
func lacks(missing []compat.Requirement) (meaning, hint string) {
	words, modules := make([]string, len(missing)), make([]string, len(missing))
	for i, x := range missing {
		words[i], modules[i] = x.String(), x.Module()
	}
	slices.Sort(modules)
	meaning = "the kernel has no " + strings.Join(words, ", no ") + " for nf_tables"
	hint = "load the modules nft_compat and " + strings.Join(slices.Compact(modules), ", ") +
		", or use --backend=nftables, which needs no xt modules"
	return meaning, hint
}

func hasOwner(r *iptables.Rule) bool {
	for _, m := range r.Matches {
		if _, ok := m.(iptables.Owner); ok {
			return true
		}
	}
	return false
}
