package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Subsystems of nfnetlink (linux/netfilter/nfnetlink.h).
const (
	subsystemNFTables = 10
	subsystemCompat   = 11
)

// Attributes and the message of nft_compat (linux/netfilter/nf_tables_compat.h).
const (
	messageCompatGet = 0
	compatName       = 1 // string
	compatRevision   = 2 // big endian, 32 bits
	compatType       = 3 // big endian, 32 bits: 0 for a match, 1 for a target
)

// nfTables returns nil where the nf_tables programs can do their work: where the
// kernel has nf_tables and lets it use the matches of xtables. It asks the
// kernel two questions and changes nothing, though the kernel may load the
// modules that answer them.
//
// The error wraps [fs.ErrPermission] where the kernel does not answer for lack
// of a privilege.
func nfTables() error {
	if err := generation(); err != nil {
		return err
	}
	// Every ruleset of ours has an owner match. Some distributions' kernels
	// have nf_tables without nft_compat.
	err := ask(subsystemCompat, messageCompatGet,
		nl.NewRtAttr(compatName, nl.ZeroTerminated("owner")),
		nl.NewRtAttr(compatRevision, binary.BigEndian.AppendUint32(nil, 1)),
		nl.NewRtAttr(compatType, binary.BigEndian.AppendUint32(nil, 0)))
	if err != nil {
		return fmt.Errorf("the kernel has no match owner for nf_tables (nft_compat, xt_owner): %w", err)
	}
	return nil
}

// generation asks for the number of the current ruleset, which every kernel with
// nf_tables has.
func generation() error {
	err := ask(subsystemNFTables, unix.NFT_MSG_GETGEN)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the kernel does not let us see its rules: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the kernel has no nf_tables: %w", err)
	}
	return nil
}

func ask(subsystem, message int, attributes ...*nl.RtAttr) error {
	request := nl.NewNetlinkRequest(subsystem<<8|message, unix.NLM_F_ACK)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET})
	for _, a := range attributes {
		request.AddData(a)
	}
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}
